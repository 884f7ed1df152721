# perl client.pl BASE_URL API_KEY
use strict;
use warnings;
use utf8;
use HTTP::Request;
use JSON::PP;
use LWP::UserAgent;
use URI;

my ($base, $key) = @ARGV;
my $agent = LWP::UserAgent->new;    # sends "TE: deflate,gzip;q=0.3"
my $json = JSON::PP->new->utf8->canonical;

sub ask {
    my ($method, $path, $query, $body, $as) = @_;
    my $address = URI->new("$base/v2$path");
    $address->query_form($query) if $query;
    my $request = HTTP::Request->new($method, $address, ['X-Primotexto-ApiKey' => $as // $key]);
    if ($body) {
        $request->header('Content-Type' => 'application/json');
        $request->content($json->encode($body));
    }
    my $response = $agent->request($request);
    my $text = $response->content;
    return ($response->code, length $text ? $json->decode($text) : undef);
}

sub call {
    my $name = shift;
    my ($status, $answer) = ask(@_);
    print $json->encode({ call => $name, http => $status + 0, answer => $answer }), "\n";
    return $answer;
}

my $sent = call('notification', 'POST', '/notification/messages/send', undef,
    { number => '0600000000', message => 'Bonjour Zoé €', category => 'perl' });
call('marketing', 'POST', '/marketing/messages/send', undef,
    { number => '+33600000008', message => 'Soldes', sender => 'Shop' });
my $by_id = { snapshotId => $sent->{snapshotId} };
for (1 .. 300) {
    my (undef, $status) = ask('GET', '/messages/status', $by_id);
    last if $status->{delivered};
    select undef, undef, undef, 0.1;
}
call('by id', 'GET', '/messages/status', $by_id);
call('by number', 'GET', '/messages/status', { identifier => '+33600000000' });
call('wrong key', 'GET', '/account/stats', undef, undef, '0' x 32);
call('bad number', 'POST', '/notification/messages/send', undef, { number => '06', message => 'Bonjour' });
call('no message', 'POST', '/notification/messages/send', undef, { number => '0600000000' });
call('unknown id', 'GET', '/messages/status', { snapshotId => '999999999' });
call('unsubscribe', 'POST', '/unsubscribers/default/contacts', undef, { identifier => '0600000010' });
call('refused', 'POST', '/marketing/messages/send', undef, { number => '0600000010', message => 'Soldes' });
call('back again', 'DELETE', '/unsubscribers/default/contacts', { identifier => '+33600000010' });
