<?php
// php client.php BASE_URL API_KEY
[, $base, $key] = $argv;

function call(string $name, string $method, string $path, ?array $body = null, ?string $with = null, bool $print = true): mixed
{
    global $base, $key;
    $curl = curl_init("$base/v2$path");
    curl_setopt_array($curl, [
        CURLOPT_CUSTOMREQUEST => $method,
        CURLOPT_RETURNTRANSFER => true,
        CURLOPT_HTTPHEADER => ['X-Primotexto-ApiKey: ' . ($with ?? $key), 'Content-Type: application/json'],
    ]);
    if ($body !== null) {
        curl_setopt($curl, CURLOPT_POSTFIELDS, json_encode($body)); // PHP escapes: "Zo\u00e9 \u20ac"
    }
    $answer = json_decode(curl_exec($curl));
    if ($print) {
        $status = curl_getinfo($curl, CURLINFO_RESPONSE_CODE);
        echo json_encode(['call' => $name, 'http' => $status, 'answer' => $answer], JSON_PRESERVE_ZERO_FRACTION), "\n";
    }
    return $answer;
}

function post(string $name, string $path, array $body): mixed
{
    return call($name, 'POST', $path, $body);
}

$sent = post('notification', '/notification/messages/send', ['number' => '0600000000', 'message' => 'Bonjour Zoé €', 'category' => 'php']);
post('marketing', '/marketing/messages/send', ['number' => '+33600000008', 'message' => 'Soldes', 'sender' => 'Shop']);
$path = '/messages/status?' . http_build_query(['snapshotId' => $sent->snapshotId]);
for ($tries = 0; $tries < 300 && !isset(call('', 'GET', $path, print: false)->delivered); $tries++) {
    usleep(100_000);
}
call('by id', 'GET', $path);
call('by number', 'GET', '/messages/status?' . http_build_query(['identifier' => '+33600000000']));
call('wrong key', 'GET', '/account/stats', with: str_repeat('0', 32));
post('bad number', '/notification/messages/send', ['number' => '06', 'message' => 'Bonjour']);
post('no message', '/notification/messages/send', ['number' => '0600000000']);
call('unknown id', 'GET', '/messages/status?snapshotId=999999999');
post('unsubscribe', '/unsubscribers/default/contacts', ['identifier' => '0600000010']);
post('refused', '/marketing/messages/send', ['number' => '0600000010', 'message' => 'Soldes']);
call('back again', 'DELETE', '/unsubscribers/default/contacts?' . http_build_query(['identifier' => '+33600000010']));
