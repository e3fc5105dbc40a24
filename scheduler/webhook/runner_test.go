package webhook

import (
	"net/http"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/perigee-sched/perigee/api"
	"github.com/perigee-sched/perigee/scheduler/record"
)

func TestRunner_DeliversEventsAsTheyCome(t *testing.T) {
	inBubble(t, func(w *world) {
		c := w.consumer("consumer")
		w.start()
		w.job("web/prod/shop")
		w.job("ops/prod/shop")
		before := w.engine.Newest().Position()
		w.tell("web/prod/shop", 1)
		id := w.hook("http://consumer/in?key=7", func(r *record.Webhook) { r.From = before }) // it was asked for then
		w.tell("web/prod/shop", 3)
		w.tell("ops/prod/shop", 2)
		got := c.all()
		require.Len(w, got, 3, "none from before, and none of another team")
		e := got[0].event
		require.Equal(w, "dev.perigee.job.resumed", e.Type)
		require.Equal(w, "web/prod/shop", e.Subject)
		require.Equal(w, "/perigee/test", e.Source)
		require.Equal(w, "application/cloudevents+json; charset=utf-8", got[0].header.Get("Content-Type"))
		require.Equal(w, e.ID, got[0].header.Get("webhook-id"))
		require.Equal(w, "perigee", got[0].header.Get("User-Agent"))
		d := w.deliveries(id)
		require.Equal(w, api.WebhookActive, d.State)
		require.EqualValues(w, 3, d.Delivered)
		require.Zero(w, d.Waiting)
		require.Len(w, d.Attempts, 3)
		require.Equal(w, http.StatusNoContent, d.Attempts[0].Status)
		require.Equal(w, d.Newest, d.Through)
		require.Empty(w, d.Reading)
	})
}

func TestRunner_GoesOnWhereTheLastLeaderWas(t *testing.T) {
	inBubble(t, func(w *world) {
		c := w.consumer("consumer")
		w.start()
		w.job("web/prod/shop")
		id := w.hook("http://consumer/")
		w.tell("web/prod/shop", 5)
		w.pass(2 * time.Second)
		w.crash()
		w.start()
		w.pass(time.Second)
		w.tell("web/prod/shop", 5)
		require.Equal(w, w.happened("job.paused", "job.resumed"), c.byJob())
		require.Len(w, c.all(), 10, "what was saved is not repeated")
		w.pass(2 * time.Minute)
		require.EqualValues(w, 10, w.deliveries(id).Delivered)
	})
}
