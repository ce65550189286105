#!/usr/bin/perl
# A session of Perl's Mail::IMAPTalk: the first argument is the port. Ends silently if all is well.
use strict;
use warnings;
use Mail::IMAPTalk;

my $imap = Mail::IMAPTalk->new(
    Server => '127.0.0.1', Port => $ARGV[0], Username => 'alice', Password => 'pass', Uid => 1, NoLiteralPlus => 0,
) || die "login: $@";
$imap->set_unicode_folders(1);

sub check { my ($good, $what) = @_; die "$what: " . ($imap->get_last_error() // 'not so') . "\n" unless $good; }

my $capability = $imap->capability();
check($capability->{$_}, $_) for qw(imap4rev1 uidplus idle namespace move unselect);
my $namespace = $imap->namespace();
check(ref $namespace eq 'ARRAY' && $namespace->[0][0][1] eq '/', 'NAMESPACE');

check($imap->create('talk'), 'CREATE');
check($imap->create('talk/below & beside'), 'CREATE with an ampersand');
check($imap->subscribe('talk'), 'SUBSCRIBE');
my @listed = map { $_->[2] } @{ $imap->list('', 'talk*') };
check("@listed" eq 'talk talk/below & beside', "LIST gives @listed");

for my $number (1 .. 20) {
    my $text = "From: =?utf-8?q?Zo=C3=AB?= <zoe\@rig.example>\r\nTo: alice\@rig.example\r\nSubject: talk $number\r\n"
        . "Message-ID: <talk.$number\@rig.example>\r\nDate: Tue, 14 Mar 2023 09:26:53 -0500\r\n"
        . "MIME-Version: 1.0\r\nContent-Type: multipart/mixed; boundary=cut\r\n\r\n"
        . "--cut\r\nContent-Type: text/plain; charset=utf-8\r\n\r\nThe text of $number.\r\n"
        . "--cut\r\nContent-Type: application/octet-stream; name=data\r\nContent-Transfer-Encoding: base64\r\n\r\n"
        . "AAECAwQ=\r\n--cut--\r\n";
    check($imap->append('talk', ['\\Flagged'], { Literal => $text }), "APPEND $number");
}
check($imap->select('talk'), 'SELECT');
check($imap->get_response_code('exists') == 20, 'EXISTS');
check($imap->get_response_code('uidnext') == 21, 'UIDNEXT');
check($imap->get_response_code('permanentflags'), 'PERMANENTFLAGS');

my $messages = $imap->fetch('1:*', '(uid flags envelope bodystructure rfc822.size)');
check(keys %$messages == 20, 'FETCH of all');
my $envelope = $messages->{7}{envelope};
check($envelope->{Subject} eq 'talk 7', 'subject');
check($envelope->{'Message-ID'} eq '<talk.7@rig.example>', 'Message-ID');
check($envelope->{From} =~ /zoe\@rig\.example/, 'From');
my $structure = $messages->{7}{bodystructure};
check($structure->{'MIME-Subparts'}[1]{'Content-Transfer-Encoding'} eq 'BASE64', 'BODYSTRUCTURE');
check(grep({ $_ eq '\\Flagged' } @{ $messages->{7}{flags} }), 'FLAGS');
my $body = $imap->fetch('7', 'body.peek[1]');
check($body->{7}{body} eq "The text of 7.", 'BODY[1]');
my $headers = $imap->fetch('8', '(body.peek[header.fields (subject)])');
check($headers->{8}{headers}{subject}[0] eq 'talk 8', 'header fields');

check($imap->store('1:5', '+flags', '(\\Seen)'), 'STORE');
my $unseen = $imap->search('unseen');
check(@$unseen == 15, 'SEARCH UNSEEN');
my $found = $imap->search('subject', 'talk 1', 'not', 'seen');
check("@$found" eq '10 11 12 13 14 15 16 17 18 19', "SEARCH SUBJECT gives @$found");
check($imap->copy('1:3', 'INBOX'), 'COPY');
check(($imap->get_response_code('copyuid') // '') =~ /./, 'COPYUID');
check($imap->store('4:6', '+flags', '(\\Deleted)'), 'STORE \\Deleted');
check($imap->uidexpunge('4:5'), 'UID EXPUNGE');
check(@{ $imap->search('all') } == 18, 'after UID EXPUNGE');
check($imap->expunge(), 'EXPUNGE');
check(@{ $imap->search('all') } == 17, 'after EXPUNGE');
my $status = $imap->status('INBOX', '(messages unseen)');
check($status->{messages} == 3 && $status->{unseen} == 0, 'STATUS');

check($imap->getacl('talk'), 'GETACL');
check($imap->setacl('talk', 'anyone', 'lr'), 'SETACL');
my $rights = $imap->myrights('talk');
check($rights, 'MYRIGHTS');
check($imap->deleteacl('talk', 'anyone'), 'DELETEACL');
check(!$imap->select('nowhere'), 'SELECT of nothing');
check($imap->get_last_error() =~ /exist/i, 'its text');
check($imap->select('talk', ReadOnly => 1), 'EXAMINE');
check(!$imap->store('7', '+flags', '(\\Seen)'), 'STORE in EXAMINE');
check($imap->unselect(), 'UNSELECT');
check($imap->rename('talk', 'walk'), 'RENAME');
check($imap->unsubscribe('talk'), 'UNSUBSCRIBE');
check($imap->delete('walk/below & beside'), 'DELETE below');
check($imap->delete('walk'), 'DELETE');
check($imap->logout(), 'LOGOUT');
