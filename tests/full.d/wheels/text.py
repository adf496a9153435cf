# %% lxml==6.1.3 (102)
import lxml.etree, lxml.html
print(lxml.etree.fromstring('<a><b x="1">t</b></a>').xpath('//b[@x=1]/text()'), lxml.html.fromstring('<p>x<br>y').text_content())

# %% regex==2026.11.19 (107)
import regex
print(regex.findall(r'\p{Lu}\w+', 'Émile et Zoë'), regex.search(r'(?:cats){e<=1}', 'cuts'))

# %% rapidfuzz==3.14.6 (234)
import rapidfuzz
print(rapidfuzz.process.extractOne('appl', ['apple', 'pear']), rapidfuzz.distance.Levenshtein.distance('kitten', 'sitting'))

# %% levenshtein==0.27.5 (947)
import Levenshtein
print(Levenshtein.distance('kitten', 'sitting'))

# %% jellyfish==1.3.0 (1240)
import jellyfish
print(jellyfish.jaro_similarity('martha', 'marhta').__round__(4), jellyfish.soundex('Robert'))

# %% editdistance==0.8.1 (2309)
import editdistance
print(editdistance.eval('kitten', 'sitting'))

# %% pyyaml==6.0.4 (15)
import yaml
print(yaml.load('a: [1, 2.5, x]', Loader=yaml.CSafeLoader))

# %% orjson==3.13.0 (194)
import orjson
print(orjson.dumps({'a': [1, 2.5, None]}))

# %% ujson==6.1.0 (408)
import ujson
print(ujson.loads(ujson.dumps({'a': [1, 2]})))

# %% python-rapidjson==1.25 (2031)
import rapidjson
print(rapidjson.loads('{"a": [1, 2]}'))

# %% pysimdjson==7.0.2 (4323)
import simdjson
print(simdjson.Parser().parse(b'{"a": [1, 2]}').as_dict())

# %% msgspec==0.23.0 (603)
import msgspec
class Point(msgspec.Struct):
    x: int
print(msgspec.json.decode(b'{"x": 1}', type=Point))

# %% msgpack==1.2.4 (146)
import msgpack
print(msgpack.unpackb(msgpack.packb({'a': [1, b'x']})))

# %% ijson==3.6.0 (554)
import ijson
print(list(ijson.items(b'{"a": [1, 2]}', 'a.item')), ijson.backend)

# %% pydantic==2.14.4 (16)
import pydantic
class Model(pydantic.BaseModel):
    number: int
print(Model.model_validate_json('{"number": "7"}'))

# %% protobuf==7.36.2 (28)
import google.protobuf.internal.api_implementation, google.protobuf.struct_pb2
struct = google.protobuf.struct_pb2.Struct()
struct.update({'a': 1})
print(struct.SerializeToString(), google.protobuf.internal.api_implementation.Type())

# %% grpcio==1.85.3 (84)
import grpc, concurrent.futures
server = grpc.server(concurrent.futures.ThreadPoolExecutor(1))
handler = grpc.unary_unary_rpc_method_handler(lambda request, context: request.upper())
server.add_generic_rpc_handlers([grpc.method_handlers_generic_handler('s', {'m': handler})])
port = server.add_insecure_port('127.0.0.1:0')
server.start()
with grpc.insecure_channel(f'127.0.0.1:{port}') as channel:
    print(channel.unary_unary('/s/m')(b'hello', timeout=20))
server.stop(0).wait()

# %% pyzmq==27.3.0 (305)
import zmq
with zmq.Context() as context, context.socket(zmq.PAIR) as one, context.socket(zmq.PAIR) as other:
    one.bind('inproc://x')
    other.connect('inproc://x')
    one.send(b'hello')
    print(other.recv())

# %% gevent==26.9.0 (511)
import gevent
print([job.get() for job in gevent.joinall([gevent.spawn(lambda n: n * n, n) for n in range(3)])])

# %% uvloop==0.23.0 (163)
import asyncio, uvloop
print(uvloop.run(asyncio.sleep(0.01, 'slept')))

# %% xxhash==4.1.0 (222)
import xxhash
print(xxhash.xxh3_64_hexdigest(b'text'))

# %% mmh3==5.3.1 (441)
import mmh3
print(mmh3.hash('text'))

# %% zstandard==0.25.0 (225)
import zstandard
print(zstandard.decompress(zstandard.compress(b'text' * 100))[:8])

# %% lz4==4.4.5 (336)
import lz4.frame
print(lz4.frame.decompress(lz4.frame.compress(b'text' * 100))[:8])

# %% brotli==1.2.1 (379)
import brotli
print(brotli.decompress(brotli.compress(b'text' * 100))[:8])

# %% cramjam==2.14.0 (792)
import cramjam
print(bytes(cramjam.snappy.decompress(cramjam.snappy.compress(b'text' * 100)))[:8])

# %% cryptography==50.0.2 (11)
import cryptography.fernet, cryptography.hazmat.primitives.asymmetric.ed25519 as ed25519
key = ed25519.Ed25519PrivateKey.from_private_bytes(bytes(32))
print(key.sign(b'text').hex()[:16], cryptography.fernet.Fernet(cryptography.fernet.Fernet.generate_key()).encrypt(b'x')[:4])

# %% cffi==2.1.1 (18)
import cffi
ffi = cffi.FFI()
ffi.cdef('int abs(int);')
print(ffi.dlopen(None).abs(-5), ffi.callback('int(int)', lambda x: x + 1)(4))

# %% psutil==7.2.2 (106)
import psutil
print(psutil.Process().name(), psutil.cpu_count() > 0, psutil.virtual_memory().total > 0, len(psutil.pids()) > 0)

# %% tree-sitter==0.26.1 tree-sitter-python==0.25.0 (315)
import tree_sitter, tree_sitter_python
parser = tree_sitter.Parser(tree_sitter.Language(tree_sitter_python.language()))
print(parser.parse(b'x = 1').root_node.children[0].type)

# %% google-re2==1.1.20251105 (1314)
import re2
print(re2.findall(r'\d+', 'a1b22'))

# %% pyahocorasick==2.3.1 (1590)
import ahocorasick
automaton = ahocorasick.Automaton()
automaton.add_word('he', 1)
automaton.make_automaton()
print(list(automaton.iter('she')))

# %% marisa-trie==1.4.1 (2214)
import marisa_trie
print(marisa_trie.Trie(['one', 'onto', 'two']).keys('on'))

# %% stringzilla==5.3.2 (1924)
import stringzilla
print(stringzilla.Str('hello world').find('world'))

# %% simsimd==6.5.16 numpy==2.4.6 (2194)
import numpy, simsimd
print(round(float(simsimd.cosine(numpy.array([1, 0], 'f'), numpy.array([1, 1], 'f'))), 3))

# %% nltk==3.10.4 (457)
import nltk.stem
print(nltk.stem.PorterStemmer().stem('running'), nltk.edit_distance('kitten', 'sitting'))

# %% lief==1.0.0 (3427)
import lief
print(lief.parse('/bin/true').format)

# %% pybase64==1.5.1 (874)
import pybase64
print(pybase64.b64encode(b'text'))
