"""A session of Python's imaplib: sys.argv[1] is the port, sys.argv[2] the port for TLS.  Ends silently if all is well."""

import imaplib
import socket
import ssl
import sys
import zlib

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


class Compressed(imaplib.IMAP4):
    """The same over COMPRESS=DEFLATE (RFC 4978)."""

    def compress(self):
        imaplib.Commands["COMPRESS"] = ("AUTH", "SELECTED")
        ok(self._simple_command("COMPRESS", "DEFLATE"))
        self.deflate = zlib.compressobj(6, zlib.DEFLATED, -15)
        self.inflate = zlib.decompressobj(-15)
        self.clear = b""

    def send(self, data):
        if hasattr(self, "deflate"):
            data = self.deflate.compress(data) + self.deflate.flush(zlib.Z_SYNC_FLUSH)
        super().send(data)

    def fill(self):
        wire = self.sock.recv(65536)
        check(wire, "the connection is closed")
        self.clear += self.inflate.decompress(wire)

    def read(self, size):
        if not hasattr(self, "inflate"):
            return super().read(size)
        while len(self.clear) < size:
            self.fill()
        data, self.clear = self.clear[:size], self.clear[size:]
        return data

    def readline(self):
        if not hasattr(self, "inflate"):
            return super().readline()
        while b"\n" not in self.clear:
            self.fill()
        line, self.clear = self.clear.split(b"\n", 1)
        return line + b"\n"


def compressed(port):
    with Compressed("127.0.0.1", port) as imap:
        ok(imap.login("alice", "pass"))
        imap.compress()
        check("COMPRESS=DEFLATE" not in ok(imap.capability())[-1].decode(), "it is active")
        big = MESSAGE + bytes(range(32, 127)) * 5000 + b"\r\n"
        for _ in range(20):
            ok(imap.append("INBOX", None, None, big))
        ok(imap.select())
        data = ok(imap.fetch("1:*", "(BODY.PEEK[])"))
        bodies = [item[1] for item in data if isinstance(item, tuple)]
        check(bodies == [big] * 20, "bodies")
        try:
            imap._simple_command("COMPRESS", "DEFLATE")
        except imaplib.IMAP4.error as error:
            check("COMPRESSIONACTIVE" in str(error), error)
        else:
            check(False, "compressed twice")
        ok(imap.store("1:*", "+FLAGS.SILENT", r"\Deleted"))
        ok(imap.close())


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
    compressed(port)
    try:
        imaplib.IMAP4("127.0.0.1", port).login("alice", "wrong")
    except imaplib.IMAP4.error:
        return
    raise AssertionError("a wrong password was accepted")


main()
