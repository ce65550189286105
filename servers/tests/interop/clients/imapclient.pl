#!/usr/bin/perl
# A session of Perl's Mail::IMAPClient: the first argument is the port. Ends silently if all is well.
use strict;
use warnings;
use Mail::IMAPClient;

my $imap = Mail::IMAPClient->new(
    Server => '127.0.0.1', Port => $ARGV[0], User => 'alice', Password => 'pass', Uid => 1, Peek => 1, Timeout => 60,
) or die "login: $@\n";

sub check { my ($good, $what) = @_; die "$what: " . ($imap->LastError // 'not so') . "\n" unless $good; }

check($imap->IsAuthenticated, 'login');
check($imap->has_capability($_), $_) for qw(IMAP4rev1 UIDPLUS IDLE NAMESPACE MOVE UNSELECT ACL QUOTA);
check($imap->tag_and_run('ID ("name" "Mail::IMAPClient" "version" NIL)'), 'ID');
check($imap->separator eq '/', 'the separator');
check($imap->create('client'), 'CREATE');
check($imap->exists('client') && !$imap->exists('nowhere'), 'exists');
check($imap->subscribe('client') && join(' ', $imap->subscribed) =~ /client/, 'SUBSCRIBE, LSUB');

my @uids;
for my $number (1 .. 12) {
    my $text = "From: Ann <ann\@rig.example>\r\nTo: alice\@rig.example, Bob <bob\@rig.example>\r\nCc: carol\@rig.example\r\n"
        . "Subject: client $number\r\nMessage-ID: <client.$number\@rig.example>\r\n"
        . "Date: Tue, 14 Mar 2023 09:26:53 -0500\r\n\r\nThe text of $number.\r\n";
    my $uid = $imap->append_string('client', $text, '\\Flagged $Label1', '01-Feb-2020 10:11:12 +0530');
    check($uid, "APPEND $number");
    push @uids, $uid;
}
check("@uids" eq "@{[1 .. 12]}", "the UIDs of APPENDUID: @uids");
check($imap->select('client'), 'SELECT');
check($imap->message_count == 12 && $imap->uidnext('client') == 13, 'STATUS');
check($imap->uidvalidity('client'), 'UIDVALIDITY');

my $envelope = $imap->get_envelope(3);
check($envelope && $envelope->subject eq 'client 3', 'ENVELOPE');
check($envelope->to->[1]->mailboxname eq 'bob', 'its recipients');
my $structure = $imap->get_bodystructure(3);
check($structure && lc $structure->bodytype eq 'text', 'BODYSTRUCTURE');
check($imap->bodypart_string(3, 1) eq "The text of 3.\r\n", 'BODY[1]');
check($imap->body_string(4) eq "The text of 4.\r\n", 'BODY[TEXT]');
my $headers = $imap->parse_headers(5, 'Subject', 'Cc');
check($headers->{Subject}[0] eq 'client 5' && $headers->{Cc}[0] eq 'carol@rig.example', 'header fields');
check($imap->internaldate(5) =~ /^ ?0?1-Feb-2020 /, 'INTERNALDATE');
check($imap->size(1) > 200, 'RFC822.SIZE');
my %flags = map { $_ => 1 } $imap->flags(1);
check($flags{'\\Flagged'} && $flags{'$Label1'}, 'FLAGS');
my $hash = $imap->fetch_hash('UID', 'FLAGS', 'RFC822.SIZE');
check(keys %$hash == 12, 'fetch_hash');

check($imap->see(1, 2, 3), 'STORE \\Seen');
check($imap->unseen_count == 9 && "@{ $imap->unseen }" eq "@{[4 .. 12]}", 'SEARCH UNSEEN');
my $found = $imap->search('SUBJECT "client 1"');
check("@$found" eq '1 10 11 12', "SEARCH SUBJECT gives @$found");
check("@{ $imap->search('SENTON 14-Mar-2023 NOT SEEN LARGER 10') }" eq "@{[4 .. 12]}", 'SEARCH by date and size');
check($imap->unset_flag('\\Flagged', 1, 2), 'STORE -FLAGS');
check($imap->copy('INBOX', 1, 2), 'COPY');
check($imap->move('INBOX', 3), 'MOVE');
check($imap->delete_message(4, 5) == 2, 'STORE \\Deleted');
check($imap->expunge, 'EXPUNGE');
check($imap->message_count('client') == 9, 'what is left');
check($imap->message_count('INBOX') == 3, 'what was copied');

my $quota = join '', $imap->getquotaroot('INBOX');
check($quota =~ /QUOTAROOT/, 'GETQUOTAROOT');
check($imap->setacl('client', 'anyone', 'lrs'), 'SETACL');
check($imap->getacl('client')->{anyone} eq 'lrs', 'GETACL');
check($imap->myrights('client') =~ /lrs/, 'MYRIGHTS');
check($imap->deleteacl('client', 'anyone'), 'DELETEACL');

# IDLE, while a second session delivers.
my $other = Mail::IMAPClient->new(Server => '127.0.0.1', Port => $ARGV[0], User => 'alice', Password => 'pass')
    or die "a second login: $@\n";
check($imap->select('INBOX'), 'SELECT INBOX');
my $tag = $imap->idle;
check($tag, 'IDLE');
die "a second APPEND\n" unless $other->append_string('INBOX', "Subject: wake\r\n\r\nup\r\n");
my $news = '';
for (1 .. 60) {
    my $lines = $imap->idle_data(1) or last;
    $news .= join '', @$lines;
    last if $news =~ /4 EXISTS/;
}
check($news =~ /4 EXISTS/, 'news during IDLE');
check($imap->done($tag), 'DONE');
$other->logout;

check($imap->close, 'CLOSE');
check($imap->rename('client', 'patron'), 'RENAME');
check($imap->unsubscribe('client'), 'UNSUBSCRIBE');
check($imap->delete('patron'), 'DELETE');
check($imap->compress, 'COMPRESS');
check($imap->select('INBOX') && $imap->message_count('INBOX') == 4, 'SELECT, compressed');
check($imap->body_string($imap->search('SUBJECT wake')->[0]) eq "up\r\n", 'a body, compressed');
check($imap->logout, 'LOGOUT');
