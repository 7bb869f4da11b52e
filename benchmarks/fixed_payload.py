"""How fast the emulator's fixed payloads come over loopback, read by sockets that do nothing else."""

import json
import socket
import subprocess
import sys
import threading
import time
from urllib.parse import urlsplit

SIDE = 2048
REPEATS = 24
LIMIT_GIGABYTES_A_SECOND = 2.0
AFFINE = {"scaleX": 10, "translateX": 600000, "scaleY": -10, "translateY": 5200000}
VALUE = {
    "functionInvocationValue": {"functionName": "Image.constant", "arguments": {"value": {"constantValue": [0.5, 1.5]}}}
}
FLOATS = {"functionInvocationValue": {"functionName": "Image.float", "arguments": {"value": VALUE}}}
BODY = {
    "expression": {"result": "0", "values": {"0": FLOATS}},
    "fileFormat": "NPY",
    "grid": {"crsCode": "EPSG:32632", "dimensions": {"width": SIDE, "height": SIDE}, "affineTransform": AFFINE},
}


def main() -> None:
    """Serve and read, with one and with eight connections."""
    command = [
        sys.executable,
        "-m",
        "airflow_ee.emulator",
        "--port",
        "0",
        "--fixed-payload",
        "--requests-per-second",
        "0",
    ]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as server:
        assert server.stdout is not None
        url = server.stdout.readline().split()[-1]
        rates = {str(connections): round(throughput(url, connections), 2) for connections in (1, 8)}
        server.terminate()
    best = max(rates.values())
    limit = {"limit": LIMIT_GIGABYTES_A_SECOND, "holds": best >= LIMIT_GIGABYTES_A_SECOND}
    print(
        json.dumps(
            {"gigabytes_a_second_by_connections": rates, "megabytes_a_payload": SIDE * SIDE * 8 // 10**6, **limit}
        )
    )


def throughput(url: str, connections: int) -> float:
    """Gigabytes a second."""
    read: list[int] = []
    threads = [threading.Thread(target=read_payloads, args=(url, read)) for _ in range(connections)]
    begin = time.perf_counter()
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if len(read) != connections * REPEATS:
        raise RuntimeError(f"{len(read)} of {connections * REPEATS} payloads came")
    return sum(read) / (time.perf_counter() - begin) / 1e9


def read_payloads(url: str, read: list[int]) -> None:
    """Ask again and again over one connection, into one buffer."""
    parts = urlsplit(url)
    body = json.dumps(BODY).encode()
    lines = ["POST /v1/projects/demo-project/image:computePixels HTTP/1.1", f"Host: {parts.netloc}"]
    lines += ["Content-Type: application/json", f"Content-Length: {len(body)}", "", ""]
    buffer = memoryview(bytearray(4 << 20))
    with socket.create_connection((parts.hostname, parts.port)) as connection:
        for _ in range(REPEATS):
            connection.sendall("\r\n".join(lines).encode() + body)
            head, rest = read_head(connection)
            size = int(next(line.split(b":")[1] for line in head.split(b"\r\n") if line.startswith(b"content-length")))
            left = size - len(rest)
            while left > 0:
                left -= connection.recv_into(buffer[: min(left, len(buffer))])
            read.append(size)


def read_head(connection: socket.socket) -> tuple[bytes, bytes]:
    """The headers in lower case, and what came of the body with them."""
    seen = b""
    while b"\r\n\r\n" not in seen:
        chunk = connection.recv(65536)
        if not chunk:
            raise RuntimeError("the server closed the connection")
        seen += chunk
    head, _, rest = seen.partition(b"\r\n\r\n")
    if b" 200 " not in head.split(b"\r\n")[0]:
        raise RuntimeError(head.decode() + rest.decode())
    return head.lower(), rest


if __name__ == "__main__":
    main()
