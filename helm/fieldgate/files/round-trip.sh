# A device connects over TLS and WebSocket, says Hello, sends an event and must have it acknowledged. With what
# the image has: fieldgate, openssl and a shell.
#   TEST_GATEWAY: HOST:PORT of the devices' listener; TEST_CA: its CA, if the file is there
# Which device: that of a certificate
#   TEST_CERTIFICATE, TEST_KEY: the files
# or else one that is registered through the API for this alone, and taken out again
#   FIELDGATE_API, FIELDGATE_API_TOKEN: the API and a token of scope admin; TEST_API_CA: its CA, if the file is there
work=$(mktemp -d)
if [ -s "$TEST_CA" ]; then ca=$TEST_CA; else ca=/etc/ssl/certs/ca-certificates.crt; fi
host=${TEST_GATEWAY%:*}
case $host in
  *[!0-9.]*) check=-verify_hostname ;;
  *) check=-verify_ip ;;
esac
client='' registered='' api_ca='' authorization=''
finish() {
  if [ -n "$client" ]; then kill "$client" 2>/dev/null || true; fi
  if [ -n "$registered" ]; then fieldgate device delete "$id" ${api_ca:+--ca "$api_ca"}; fi
}
trap finish EXIT
trap '' PIPE

# Right after an installation the gateways may not be there yet.
attempts=60
again() {
  attempts=$((attempts - 1))
  if [ "$attempts" = 0 ]; then return 1; fi
  sleep 5
}

if [ -n "${TEST_CERTIFICATE:-}" ]; then
  id=$(openssl x509 -in "$TEST_CERTIFICATE" -noout -ext subjectAltName 2>/dev/null | sed -n 's/.*urn:fieldgate:device:\([^,]*\).*/\1/p')
  if [ -z "$id" ]; then
    id=$(openssl x509 -in "$TEST_CERTIFICATE" -noout -subject -nameopt multiline | sed -n 's/^ *commonName *= //p')
  fi
  if [ -z "$id" ] || [ "${#id}" -gt 119 ]; then
    echo "the certificate must be of a device, with an id of at most 119 characters: a URI urn:fieldgate:device:ID" >&2
    exit 1
  fi
  set -- -cert "$TEST_CERTIFICATE" -key "$TEST_KEY"
else
  FIELDGATE_API_TOKEN=$(printf %s "$FIELDGATE_API_TOKEN") # without the line's end that the file had
  export FIELDGATE_API_TOKEN
  if [ -s "$TEST_API_CA" ]; then api_ca=$TEST_API_CA; fi
  id=helm-test-$(openssl rand -hex 4)
  token=$(openssl rand -hex 32)
  printf '{"id": "%s", "note": "helm test", "credentials": [{"kind": "token", "sha256": "%s"}]}\n' \
    "$id" "$(printf %s "$token" | sha256sum | cut -d' ' -f1)" >"$work/device.ndjson"
  until fieldgate device import "$work/device.ndjson" ${api_ca:+--ca "$api_ca"}; do
    status=$?
    if [ "$status" != 69 ] || ! again; then
      echo "the API at $FIELDGATE_API does not take a device" >&2
      exit 1
    fi
  done
  registered=yes
  authorization="Authorization: Bearer $token"
  set --
fi
set -- -connect "$TEST_GATEWAY" -servername "$host" -CAfile "$ca" -verify_return_error "$check" "$host" "$@"
while openssl s_client "$@" </dev/null 2>&1 >/dev/null | grep -q 'connect:errno' && again; do
  echo "nobody answers at $TEST_GATEWAY yet" >&2
done

mkfifo "$work/in"
openssl s_client "$@" -quiet <"$work/in" >"$work/out" 2>"$work/err" &
client=$!
exec 3>"$work/in"

# As printf. What nobody takes any more is what heard() then waits for in vain.
say() {
  printf "$@" >&3 2>/dev/null || true
}
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
say 'GET /v1/connect HTTP/1.1\r\nHost: %s\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: %s\r\nSec-WebSocket-Protocol: fieldgate.v1\r\n' \
  "$host" "$key"
say '%s\r\n' ${authorization:+"$authorization"} ""
heard "upgraded to WebSocket" "$(printf %s "$answer" | od -An -v -tx1 | tr -d ' \n')"
# Binary frames with a mask of zeros. DeviceFrame{hello{device_id, stream_id: 1}}, its lengths in octal digits; a
# GatewayFrame that begins with field 1 is Welcome, of less than 126 bytes or more.
lengths=$(printf '\\202\\%03o\\000\\000\\000\\000\\022\\%03o\\012\\%03o' $((128 + ${#id} + 6)) $((${#id} + 4)) ${#id})
say "$lengths%s\020\001" "$id"
heard "welcome as $id" '82\(7e....\|[0-7].\)0a'
# DeviceFrame{seq: 1, event{name: "helm-test"}}; Ack{through: 1}.
say '\202\217\000\000\000\000\010\001\042\013\012\011helm-test'
heard "acknowledged" 820412020801
say '\210\202\000\000\000\000\003\350' # Close 1000
echo "round trip: good"
