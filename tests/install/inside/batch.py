"""A batch job: counts for as long as it may."""

from pathlib import Path

count = 0
while True:
    count += 1
    if count % 1000 == 0:
        Path("count").write_text(str(count))
