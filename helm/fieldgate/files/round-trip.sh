# A device of its own is registered through the API, connects over TLS and WebSocket, sends for three
# seconds, and must have every frame acknowledged; then it is taken out again.
#   FIELDGATE_API, FIELDGATE_API_TOKEN: the API and a token of scope admin; TEST_API_CA: its CA, if the file is there
#   TEST_GATEWAY: HOST:PORT of the devices' listener; TEST_CA: its CA, if the file is there
FIELDGATE_API_TOKEN=$(printf %s "$FIELDGATE_API_TOKEN") # without the line's end that the file had
export FIELDGATE_API_TOKEN
work=$(mktemp -d)
seed=$(cat /proc/sys/kernel/random/uuid)
prefix=helm-test-$(cut -c1-8 /proc/sys/kernel/random/uuid)-
if [ -s "$TEST_API_CA" ]; then set -- --ca "$TEST_API_CA"; else set --; fi
if [ -s "$TEST_CA" ]; then ca=$TEST_CA; else ca=/etc/ssl/certs/ca-certificates.crt; fi

fieldgate-sim tokens --devices 1 --id-prefix "$prefix" --secret-seed "$seed" --out "$work/tokens" >&2
read -r id hash <"$work/tokens"
printf '{"id": "%s", "note": "helm test", "credentials": [{"kind": "token", "sha256": "%s"}]}\n' \
  "$id" "${hash#sha256:}" >"$work/device.ndjson"

# Right after an installation the gateways may not be there yet.
attempts=60
until fieldgate device import "$work/device.ndjson" "$@"; do
  status=$?
  attempts=$((attempts - 1))
  if [ "$status" != 69 ] || [ "$attempts" = 0 ]; then
    echo "the API at $FIELDGATE_API does not take a device" >&2
    exit 1
  fi
  sleep 5
done
trap 'fieldgate device delete "$id" "$@"' EXIT

fieldgate-sim run --gateway "$TEST_GATEWAY" --ca "$ca" --secret-seed "$seed" --id-prefix "$prefix" \
  --devices 1 --rate 5 --seconds 3
echo "round trip: good"
