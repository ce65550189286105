# IMAP with SASL GSSAPI (RFC 4752) and its security layers, octet by octet.
import base64, gssapi, select, socket, struct, sys, zlib

port, layer, user = int(sys.argv[1]), sys.argv[2], sys.argv[3]
tamper = layer == 'tamper'
layer = 4 if tamper else int(layer)


class Connection:
    def __init__(self):
        self.socket = socket.create_connection(('127.0.0.1', port))
        self.socket.settimeout(60)
        self.wire = b''      # came, and not yet unwrapped
        self.clear = b''     # unwrapped, and not yet read
        self.context = None  # of the layer
        self.most = 0
        self.packer = self.unpacker = None

    def send(self, data):
        if self.packer:
            data = self.packer.compress(data) + self.packer.flush(zlib.Z_SYNC_FLUSH)
        if not self.context:
            return self.socket.sendall(data)
        for at in range(0, len(data), self.most):
            packet = self.context.wrap(data[at:at + self.most], layer == 4).message
            if tamper:
                packet = packet[:-1] + bytes([packet[-1] ^ 1])
            self.socket.sendall(struct.pack('!I', len(packet)) + packet)

    def fill(self):
        part = self.socket.recv(65536)
        if not part:
            raise EOFError('closed')
        self.wire += part
        if not self.context:
            plain, self.wire = self.wire, b''
            self.take(plain)
            return
        while len(self.wire) >= 4:
            size = struct.unpack('!I', self.wire[:4])[0]
            assert size < 1 << 20, size
            if len(self.wire) < 4 + size:
                break
            packet, self.wire = self.wire[4:4 + size], self.wire[4 + size:]
            unwrapped = self.context.unwrap(packet)
            assert unwrapped.encrypted == (layer == 4), unwrapped.encrypted
            self.take(unwrapped.message)

    def take(self, data):
        self.clear += self.unpacker.decompress(data) if self.unpacker else data

    def line(self):
        while b'\n' not in self.clear:
            self.fill()
        line, _, self.clear = self.clear.partition(b'\n')
        return line.rstrip(b'\r').decode('latin1')

    def exactly(self, count):
        while len(self.clear) < count:
            self.fill()
        data, self.clear = self.clear[:count], self.clear[count:]
        return data

    def until(self, tag):
        lines = []
        while True:
            line = self.line()
            lines.append(line)
            if line.startswith(tag + ' ') or line.startswith('+'):
                return lines

    def command(self, text, expect='OK'):
        tag = text.split()[0]
        self.send(text.encode() + b'\r\n')
        lines = self.until(tag)
        assert lines[-1].startswith('%s %s' % (tag, expect)) or lines[-1].startswith('+'), lines
        return lines


def login(connection):
    name = gssapi.Name('imap@localhost', gssapi.NameType.hostbased_service)
    context = gssapi.SecurityContext(name=name, usage='initiate')
    connection.send(b'a AUTHENTICATE GSSAPI\r\n')
    connection.until('a')
    token = context.step()
    while True:
        connection.send(base64.b64encode(token or b'') + b'\r\n')
        answer = connection.until('a')[-1]
        if not answer.startswith('+'):
            sys.exit(answer)
        data = base64.b64decode(answer[1:].strip())
        if context.complete and not data:
            token = b''
            continue
        if context.complete:
            break
        token = context.step(data)
    offer = context.unwrap(data).message
    assert offer[0] & layer, 'the server offers the layers %d' % offer[0]
    most = struct.unpack('!I', b'\0' + offer[1:4])[0]
    wanted = bytes([layer]) + (b'\0\0\0' if layer == 1 else struct.pack('!I', 65536)[1:]) + user.encode()
    connection.send(base64.b64encode(context.wrap(wanted, False).message) + b'\r\n')
    answer = connection.until('a')[-1]
    if not answer.startswith('a OK'):
        sys.exit(answer)
    if layer > 1:
        connection.context = context
        # What fits into a packet of the server's size.
        connection.most = min(most, 65536) - 256


def append(connection, tag, body):
    head = '%s APPEND INBOX {%d}\r\n' % (tag, len(body))
    connection.send(head.encode())
    assert connection.until(tag)[-1].startswith('+')
    connection.send(body + b'\r\n')
    lines = connection.until(tag)
    assert lines[-1].startswith(tag + ' OK'), lines


def fetched(connection, tag):
    connection.send(('%s FETCH * BODY.PEEK[]\r\n' % tag).encode())
    while True:
        line = connection.line()
        if line.endswith('}'):
            body = connection.exactly(int(line[line.rindex('{') + 1:-1]))
            assert connection.until(tag)[-1].startswith(tag + ' OK')
            return body


def large(mark):
    return b'Subject: ' + mark + b'\r\n\r\n' + b''.join(b'%06d %s\r\n' % (n, mark * 5) for n in range(12000))


connection = Connection()
connection.line()
login(connection)
if tamper:
    try:
        connection.send(b'b NOOP\r\n')
        heard = connection.line()
        sys.exit(0 if heard.startswith('* BYE') else heard)
    except (EOFError, ConnectionError):
        sys.exit(0)
connection.command('b SELECT INBOX')
message = large(b'layer%d' % layer)
append(connection, 'c', message)
assert fetched(connection, 'd') == message
# News come while nothing is asked.
other = Connection()
other.line()
layered, layer = layer, 1
login(other)
layer = layered
connection.command('e IDLE')
append(other, 'f', b'Subject: news\r\n\r\n\r\n')
while not connection.line().endswith(' EXISTS'):
    pass
connection.send(b'DONE\r\n')
connection.until('e')
# Many commands in one packet.
connection.send(b''.join(b'g%d NOOP\r\n' % n for n in range(500)))
connection.until('g499')
# Compression inside of the layer.
connection.command('h COMPRESS DEFLATE')
connection.packer = zlib.compressobj(6, zlib.DEFLATED, -15)
connection.unpacker = zlib.decompressobj(-15)
message = large(b'packed%d' % layer)
append(connection, 'i', message)
assert fetched(connection, 'j') == message
connection.command('k IDLE')
append(other, 'l', b'Subject: more news\r\n\r\n\r\n')
while not connection.line().endswith(' EXISTS'):
    pass
connection.send(b'DONE\r\n')
connection.until('k')
connection.command('m LOGOUT')
print('all done')
