#!/bin/bash
# The deploy step of a build for machines that have curl and nothing else:
#
#   PERIGEE_API=http://perigee:7300 deploy-curl.sh web/prod/checkout spec.json
#
# spec.json is what `perigee render checkout.yaml --stage prod -o json` prints for
# the job, without the brackets around it.
set -euo pipefail

job=${1:?usage: deploy-curl.sh JOB SPEC}
spec=${2:?usage: deploy-curl.sh JOB SPEC}
: "${BUILD_TAG:?names the build}"
deploys=${PERIGEE_API:-http://127.0.0.1:7300}/v1/jobs/$job/deploys
answer=$(mktemp)
trap 'rm -f "$answer"' EXIT

# field NAME: of the last answer, where it stands first; nothing when it is absent.
field() { { grep -o "\"$1\": *\"\?[^\",}]*" "$answer" || true; } | head -n 1 | sed 's/^[^:]*: *"\{0,1\}//'; }

# With the same key, the same request is executed once, however often it is sent: so
# it may be sent again when the connection was lost, or nobody could write.
code=$(curl -sS -o "$answer" -w '%{http_code}' --retry 10 --retry-delay 3 --retry-connrefused \
	-X POST "$deploys" -H 'Content-Type: application/json' -H "Idempotency-Key: $BUILD_TAG" \
	-d "{\"spec\": $(cat "$spec"), \"author\": \"jenkins\", \"message\": \"$BUILD_TAG\"}")
case $code in
200 | 201) ;;
*)
	echo "The deploy was refused with $code:" >&2
	cat "$answer" >&2
	exit 1
	;;
esac
number=$(field number)
echo "deploy $number of $job, for $BUILD_TAG"

# The answer comes when the deploy is over, or stands still because it failed
# (update.on_failure: pause), or after five minutes.
state=$(field state)
while { [ "$state" = in_progress ] || [ "$state" = rolling_back ]; } && [ -z "$(field failed)" ]; do
	curl -sS -f -o "$answer" --retry 10 --retry-delay 3 --retry-connrefused "$deploys/$number?wait=5m"
	state=$(field state)
done
reason=$(field reason)
[ -n "$reason" ] || reason=$(field failed)
echo "deploy $number of $job: $state${reason:+: $reason}"
[ "$state" = succeeded ]
