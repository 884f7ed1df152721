# A customer of Net::SMPP: perl customer.pl PORT SYSTEM_ID PASSWORD. It binds, does what it is told in lines of JSON
# ({"do": "submit", "number": …, "text": …}, {"do": "read"}, {"do": "unbind"}), and says what it sees as such.
use strict;
use warnings;
use utf8;
use Encode qw(decode encode);
use JSON::PP;
use Net::SMPP;

binmode STDIN;
binmode STDOUT;
$| = 1;
use constant { PART_SEPTETS => 153, PART_OCTETS => 134, ONE_SEPTETS => 160, ONE_OCTETS => 140, RECEIPT => 0x04, UDHI => 0x40 };
my ($port, $system_id, $password) = @ARGV;
my $json = JSON::PP->new->utf8->canonical;
my $reference = 0;

sub say_that { my ($event, %more) = @_; print $json->encode({ event => $event, %more }), "\n" }

sub octets_of {
    my ($text) = @_;
    my $gsm = eval { encode('gsm0338', $text, Encode::FB_CROAK | Encode::LEAVE_SRC) };
    return defined $gsm ? (0, $gsm) : (8, encode('UTF-16BE', $text));
}

# The parts of a text, each with its header; a part ends in no half of a character.
sub parts_of {
    my ($coding, $octets) = @_;
    my ($one, $most) = $coding ? (ONE_OCTETS, PART_OCTETS) : (ONE_SEPTETS, PART_SEPTETS);
    return ([0, $octets]) if length $octets <= $one;
    my @pieces;
    while (length $octets) {
        my $length = $most;
        if (length $octets > $length) {
            $length-- if !$coding && substr($octets, $length - 1, 1) eq "\x1b";
            $length -= 2 if $coding && substr($octets, $length - 2, 1) =~ /[\xd8-\xdb]/;
        }
        push @pieces, substr($octets, 0, $length, '');
    }
    $reference++;
    return map { [UDHI, pack('C6', 5, 0, 3, $reference, scalar @pieces, $_ + 1) . $pieces[$_]] } 0 .. $#pieces;
}

my $smpp = Net::SMPP->new_connect('127.0.0.1', port => $port, system_id => $system_id, password => $password)
    or die "no connection: $!";
my $bound = $smpp->bind_transceiver();
say_that('bind', status => $bound->status, system_id => $bound->{system_id} // '');

# Reads until the answer to this request, or the next message when there is none; and says what else comes.
sub read_until {
    my ($sequence) = @_;
    while (1) {
        my $pdu = $smpp->read_pdu() or die "the connection has ended";
        if ($pdu->cmd == Net::SMPP::CMD_deliver_sm) {
            my $octets = $pdu->{short_message};
            my $header = $pdu->{esm_class} & UDHI ? substr($octets, 0, 1 + ord $octets, '') : '';
            say_that('deliver', source_addr => $pdu->{source_addr}, destination_addr => $pdu->{destination_addr},
                receipt => $pdu->{esm_class} & RECEIPT ? JSON::PP::true : JSON::PP::false, header => unpack('H*', $header),
                id => ($pdu->{receipted_message_id} // '') =~ s{\0$}{}r,
                text => decode($pdu->{data_coding} == 8 ? 'UTF-16BE' : 'gsm0338', $octets));
            $smpp->deliver_sm_resp(seq => $pdu->seq, message_id => '');
            return unless defined $sequence;
        } elsif ($pdu->cmd == Net::SMPP::CMD_enquire_link) {
            $smpp->enquire_link_resp(seq => $pdu->seq);
        } elsif ($pdu->cmd == Net::SMPP::CMD_unbind) {
            $smpp->unbind_resp(seq => $pdu->seq);
            say_that('unbound');
            exit;
        } elsif (defined $sequence && $pdu->seq == $sequence) {
            return $pdu;
        }
    }
}

while (my $line = <STDIN>) {
    my $command = $json->decode($line);
    if ($command->{do} eq 'submit') {
        my ($coding, $octets) = octets_of($command->{text});
        for my $part (parts_of($coding, $octets)) {
            my $answer = read_until($smpp->submit_sm(async => 1, source_addr_ton => 5, source_addr => 'CHAPPE',
                dest_addr_ton => 1, dest_addr_npi => 1, destination_addr => $command->{number}, registered_delivery => 1,
                esm_class => $part->[0], data_coding => $coding, short_message => $part->[1]));
            say_that('answer', status => $answer->status, id => $answer->{message_id} // '');
        }
    } elsif ($command->{do} eq 'read') {
        read_until(undef);
    } elsif ($command->{do} eq 'unbind') {
        say_that('unbound', status => read_until($smpp->unbind(async => 1))->status);
        exit;
    }
}
