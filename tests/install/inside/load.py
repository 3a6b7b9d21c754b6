"""Asks on and on until /tmp/enough is there; prints how many answers there were, and exits 1 on any loss.

`load.py kept`: on one connection for as long as it is kept; `seldom`: the same, but a second after each
answer; `fresh`: on a new connection each time.
"""

import http.client
import sys
import time
from pathlib import Path

answers = 0
connection = http.client.HTTPConnection("127.0.0.1", 8780, timeout=60)
while not Path("/tmp/enough").exists():
    headers = {"Connection": "close"} if sys.argv[1] == "fresh" else {}
    connection.request("POST", "/v1/completions", body=b"{}", headers=headers)
    response = connection.getresponse()
    response.read()
    if response.status != 200:
        sys.exit(f"status {response.status}")
    answers += 1
    Path(f"/tmp/answers-{sys.argv[1]}").write_text(str(answers))
    time.sleep(1.0 if sys.argv[1] == "seldom" else 0.01)
print(answers)
