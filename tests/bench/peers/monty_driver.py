"""Runs each program of a line of JSON in a session of its own of pydantic-monty, and answers with a line of JSON."""

import json
import sys

from pydantic_monty import CollectString, Monty, MontyError

with Monty(min_processes=1, max_processes=1) as pool:
    print("ready", flush=True)
    for line in sys.stdin:
        output, error = CollectString(), ""
        try:
            with pool.checkout() as session:
                session.feed_run(json.loads(line)["source"], print_callback=output)
        except MontyError as failure:
            error = f"{type(failure).__name__}: {failure}"
        print(json.dumps({"said": output.output + error, "failed": bool(error)}), flush=True)
