"""An import that must not be forked: the connection would be shared."""

import socket

CONNECTION = socket.socketpair()
