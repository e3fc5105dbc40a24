package webhook

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"strconv"
	"strings"
	"time"

	"github.com/perigee-sched/perigee/api"
	"github.com/perigee-sched/perigee/scheduler/record"
)

// Headers of a delivery, by the Standard Webhooks convention.
const (
	headerID        = "Webhook-Id"
	headerTimestamp = "Webhook-Timestamp"
	headerSignature = "Webhook-Signature"
)

// signature is the header that signs a body: one signature for each secret that is
// valid then, the newest first.
func signature(secrets []*record.WebhookSecret, id string, at time.Time, body []byte) string {
	var all []string
	for _, s := range secrets {
		key, err := api.WebhookKey(s.Key)
		if err != nil || s.ExpiresAt != 0 && s.ExpiresAt <= at.UnixMilli() {
			continue
		}
		mac := hmac.New(sha256.New, key)
		mac.Write([]byte(id + "." + timestamp(at) + "."))
		mac.Write(body)
		all = append(all, "v1,"+base64.StdEncoding.EncodeToString(mac.Sum(nil)))
	}
	return strings.Join(all, " ")
}

func timestamp(at time.Time) string { return strconv.FormatInt(at.Unix(), 10) }
