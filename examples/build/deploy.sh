#!/bin/bash
# The deploy step of a build, with Jenkins's names for what it knows of the build:
#
#   sh 'examples/build/deploy.sh checkout.yaml prod'
#
# It waits until the deploy is over, prints how it went, and exits with 0 only if
# the new version runs. Run again for the same build, it deploys nothing twice: it
# waits for the deploy that the first run began.
set -euo pipefail

file=${1:?usage: deploy.sh FILE STAGE}
stage=${2:?usage: deploy.sh FILE STAGE}
: "${GIT_COMMIT:?names the version to deploy}"
: "${BUILD_TAG:?names the build}"
perigee=${PERIGEE:-perigee}
# The scheduler is the one that PERIGEE_API names.

options=(--stage "$stage" --set "githash=$GIT_COMMIT" --yes --timeout "${TIMEOUT:-30m}"
	--idempotency-key "$BUILD_TAG-$stage" --author "${BUILD_USER:-jenkins}" --message "$BUILD_TAG")
[ -z "${BUILD_URL:-}" ] || options+=(--link "build=$BUILD_URL")

# What changes is part of the build's log. An exit status of 7 says that something does.
plan=0
"$perigee" plan "$file" --stage "$stage" --set "githash=$GIT_COMMIT" || plan=$?
[ $plan -eq 0 ] || [ $plan -eq 7 ] || exit $plan

# A build that is aborted ends the watching; the deploy would go on without it.
"$perigee" deploy "$file" "${options[@]}" &
deploy=$!
trap 'kill -INT $deploy 2>/dev/null' INT TERM
status=0
wait $deploy || status=$?
[ $status -le 128 ] || { status=0; wait $deploy || status=$?; } # wait was interrupted

case $status in
0) echo "$GIT_COMMIT was deployed to $stage." ;;
5) echo "Another deploy is in progress, or paused; nothing was changed." ;;
6) echo "No scheduler answers." ;;
10) echo "The deploy has failed, and instances stay on what they run." ;;
11) echo "The deploy has failed, and the version before runs again." ;;
12) echo "Somebody has cancelled the deploy; the version before runs again." ;;
13) echo "A later deploy has taken over." ;;
14) echo "The deploy has failed, and stands still until somebody decides." ;;
124 | 130) echo "The deploy goes on, without anybody watching." ;;
*) echo "It was not deployed." ;;
esac
exit $status
