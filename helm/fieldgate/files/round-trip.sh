# A device of its own is registered through the API, connects over TLS and WebSocket, says Hello, sends an
# event and must have it acknowledged; then it is taken out again. With what the image has: fieldgate, openssl
# and a shell.
#   FIELDGATE_API, FIELDGATE_API_TOKEN: the API and a token of scope admin; TEST_API_CA: its CA, if the file is there
#   TEST_GATEWAY: HOST:PORT of the devices' listener; TEST_CA: its CA, if the file is there
FIELDGATE_API_TOKEN=$(printf %s "$FIELDGATE_API_TOKEN") # without the line's end that the file had
export FIELDGATE_API_TOKEN
work=$(mktemp -d)
id=helm-test-$(openssl rand -hex 4) # 18 bytes, as Hello below says
token=$(openssl rand -hex 32)
if [ -s "$TEST_API_CA" ]; then set -- --ca "$TEST_API_CA"; else set --; fi
if [ -s "$TEST_CA" ]; then ca=$TEST_CA; else ca=/etc/ssl/certs/ca-certificates.crt; fi
host=${TEST_GATEWAY%:*}

printf '{"id": "%s", "note": "helm test", "credentials": [{"kind": "token", "sha256": "%s"}]}\n' \
  "$id" "$(printf %s "$token" | sha256sum | cut -d' ' -f1)" >"$work/device.ndjson"
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
client=
trap 'if [ -n "$client" ]; then kill "$client" 2>/dev/null || true; fi; fieldgate device delete "$id" "$@"' EXIT
trap '' PIPE

case $host in
  *[!0-9.]*) check=-verify_hostname ;;
  *) check=-verify_ip ;;
esac
mkfifo "$work/in"
openssl s_client -connect "$TEST_GATEWAY" -servername "$host" -CAfile "$ca" -verify_return_error "$check" "$host" -quiet \
  <"$work/in" >"$work/out" 2>"$work/err" &
client=$!
exec 3>"$work/in"

# WHAT, and its bytes in hexadecimal digits: waits for them, but not for ever.
heard() {
  attempts=150
  while true; do
    alive=yes
    kill -0 "$client" 2>/dev/null || alive=
    if od -An -v -tx1 "$work/out" | tr -d ' \n' | grep -q "$2"; then
      echo "$1"
      return
    fi
    attempts=$((attempts - 1))
    if [ -z "$alive" ] || [ "$attempts" = 0 ]; then
      echo "in vain: $1. What came:" >&2
      cat "$work/err" "$work/out" >&2
      exit 1
    fi
    sleep 0.2
  done
}

key=$(openssl rand -base64 16)
answer=$(printf %s258EAFA5-E914-47DA-95CA-C5AB0DC85B11 "$key" | openssl dgst -sha1 -binary | openssl base64)
printf 'GET /v1/connect HTTP/1.1\r\nHost: %s\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: %s\r\nSec-WebSocket-Protocol: fieldgate.v1\r\nAuthorization: Bearer %s\r\n\r\n' \
  "$host" "$key" "$token" >&3
heard "upgraded to WebSocket" "$(printf %s "$answer" | od -An -v -tx1 | tr -d ' \n')"
# Binary frames with a mask of zeros. DeviceFrame{hello{device_id, stream_id: 1}}; a GatewayFrame that begins with
# field 1 is Welcome, of less than 126 bytes or more.
printf '\202\230\000\000\000\000\022\026\012\022%s\020\001' "$id" >&3
heard "welcome" '82\(7e....\|[0-7].\)0a'
# DeviceFrame{seq: 1, event{name: "helm-test"}}; Ack{through: 1}.
printf '\202\217\000\000\000\000\010\001\042\013\012\011helm-test' >&3
heard "acknowledged" 820412020801
printf '\210\202\000\000\000\000\003\350' >&3 # Close 1000
echo "round trip: good"
