"""A session of Python's imaplib: sys.argv[1] is the port, sys.argv[2] the port for TLS.  Ends silently if all is well."""

import imaplib
import socket
import ssl
import sys

MESSAGE = (b"From: Ann <ann@rig.example>\r\nTo: alice@rig.example\r\nSubject: from imaplib\r\n"
           b"Message-ID: <imaplib@rig.example>\r\n\r\nSome text.\r\n")


def ok(answer):
    kind, data = answer
    assert kind == "OK", answer
    return data


def check(condition, what):
    assert condition, what


def session(imap):
    ok(imap.login("alice", "pass"))
    for capability in ("IMAP4REV1", "LITERAL+", "UIDPLUS", "IDLE", "NAMESPACE", "MOVE", "UNSELECT"):
        check(capability in imap.capabilities, capability)
    ok(imap.create("python"))
    check(any(b'"/" python' in line for line in ok(imap.list())), "LIST")
    ok(imap.subscribe("python"))
    check(any(b"python" in line for line in ok(imap.lsub())), "LSUB")
    for flags in (None, r"(\Seen)", r"(\Flagged keyword)"):
        ok(imap.append("python", flags, '"01-Feb-2020 10:11:12 +0530"', MESSAGE))
    check(ok(imap.select("python")) == [b"3"], "EXISTS")
    check(ok(imap.search(None, "ALL")) == [b"1 2 3"], "SEARCH ALL")
    check(ok(imap.search(None, "UNSEEN", "FROM", "ann@rig")) == [b"1 3"], "SEARCH UNSEEN FROM")
    check(ok(imap.search(None, "KEYWORD", "keyword")) == [b"3"], "SEARCH KEYWORD")
    check(ok(imap.uid("SEARCH", None, "BODY", '"Some text"')) == [b"1 2 3"], "SEARCH BODY")
    data = ok(imap.fetch("1", "(RFC822 INTERNALDATE)"))
    check(data[0][1] == MESSAGE, data)
    check(b'INTERNALDATE " 1-Feb-2020 ' in data[0][0] + data[1], data)
    check(rb"\Seen" in b"".join(ok(imap.fetch("1", "(FLAGS)"))), "RFC822 marks as seen")
    data = ok(imap.fetch("2", "(BODY.PEEK[HEADER.FIELDS (SUBJECT)])"))
    check(data[0][1] == b"Subject: from imaplib\r\n\r\n", data)
    check(b"keyword" in b"".join(ok(imap.store("1:2", "+FLAGS", "keyword"))), "STORE")
    ok(imap.copy("1:3", "INBOX"))
    ok(imap.uid("MOVE", "3", "INBOX"))
    check(ok(imap.status("INBOX", "(MESSAGES UNSEEN)"))[0].endswith(b"(MESSAGES 4 UNSEEN 2)"), "STATUS")
    ok(imap.store("1", "+FLAGS", r"\Deleted"))
    check(ok(imap.expunge())[-1] == b"1", "EXPUNGE")          # the MOVE above has one of its own
    check(b"INBOX" in ok(imap.getquotaroot("INBOX"))[0][0], "GETQUOTAROOT")
    check(b"alice lrswipkxtecda" in ok(imap.getacl("INBOX"))[0], "GETACL")
    check(b"lrswipkxtecda" in ok(imap.myrights("INBOX"))[0], "MYRIGHTS")
    ok(imap.setacl("python", "anyone", "lrs"))
    ok(imap.namespace())
    ok(imap.noop())
    ok(imap.check())
    ok(imap.unselect())
    ok(imap.rename("python", "renamed"))
    check(imap.select("python")[0] == "NO", "the old name is gone")
    ok(imap.select("renamed", readonly=True))
    ok(imap.close())
    ok(imap.unsubscribe("python"))
    ok(imap.delete("renamed"))
    check(imap.logout()[0] == "BYE", "LOGOUT")


def main():
    socket.setdefaulttimeout(60)
    port, tls_port = int(sys.argv[1]), int(sys.argv[2])
    context = ssl.create_default_context(cafile=sys.argv[3])
    session(imaplib.IMAP4("127.0.0.1", port))
    with imaplib.IMAP4("localhost", port) as imap:
        ok(imap.starttls(context))
        ok(imap.authenticate("PLAIN", lambda _: b"\0alice\0pass"))
        check(ok(imap.select()) == [b"4"], "the mail is there through STARTTLS")
        ok(imap.store("1:4", "+FLAGS.SILENT", r"\Deleted"))
        ok(imap.close())
    with imaplib.IMAP4_SSL("localhost", tls_port, ssl_context=context) as imap:
        ok(imap.login("alice", "pass"))
        check(ok(imap.select()) == [b"0"], "CLOSE has expunged")
    try:
        imaplib.IMAP4("127.0.0.1", port).login("alice", "wrong")
    except imaplib.IMAP4.error:
        return
    raise AssertionError("a wrong password was accepted")


main()
