"""The Autobahn test suite on loopback, for its own Python 2.7: `.cache/autobahn/python suite.py SPEC`.

Its program `wstest` listens on every interface, on a port that is known before. This one listens on
127.0.0.1, on a port that the kernel gives, and prints it. SPEC is JSON as `wstest` takes it; one that
names servers makes the suite their client.
"""

from __future__ import print_function

import json
import sys

# The suite asks to come before everything else of Twisted.
import autobahntestsuite.choosereactor
from autobahntestsuite import fuzzing
from twisted.internet import reactor

HOST = "127.0.0.1"


def listen(spec):
    factory = fuzzing.FuzzingServerFactory(dict(spec, url="ws://%s" % HOST))
    port = reactor.listenTCP(0, factory, interface=HOST).getHost().port
    # The port is compared with what the client's Host header says.
    factory.setSessionParameters(url="ws://%s:%d" % (HOST, port), server="fuzzing server")
    print("listening on ws://%s:%d" % (HOST, port))
    sys.stdout.flush()


with open(sys.argv[1]) as file:
    spec = json.load(file)
if "servers" in spec:
    fuzzing.startClient(spec)
else:
    listen(spec)
reactor.run()
