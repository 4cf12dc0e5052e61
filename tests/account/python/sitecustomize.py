"""For the tests of the acceptance script. With VIPKEEPER_RUN_LINES=FOLDER, each line of the script that runs is written into a
file of this folder. Besides, it gives moto's server Elastic IPs that can be VIPs, because its own are of the loopback network,
which vipkeeper refuses; and route tables that go when their stack goes.

Python runs this file at its start, wherever PYTHONPATH names its folder.
"""

import atexit
import itertools
import os
import sys
import threading

SCRIPTS = ["acceptance.py", "measure.py"]
folder = os.environ.get("VIPKEEPER_RUN_LINES")
if folder:
    run = set()

    def in_script(frame, event, _):
        if event == "line":
            run.add(f"{os.path.basename(frame.f_code.co_filename)} {frame.f_lineno}")
        return in_script

    def in_any(frame, _event, _):
        return in_script if os.path.basename(frame.f_code.co_filename) in SCRIPTS else None

    def write():
        with open(os.path.join(folder, str(os.getpid())), "w") as file:
            file.write("\n".join(run))

    sys.settrace(in_any)
    threading.settrace(in_any)
    atexit.register(write)

try:
    from moto.ec2.models import ec2_backends, elastic_ip_addresses, route_tables
except ImportError:
    # A Python without moto has nothing to change.
    pass
else:
    # RFC 5737: a range for documentation.
    numbers = itertools.cycle(range(10, 250))
    elastic_ip_addresses.random_ip = lambda: f"203.0.113.{next(numbers)}"

    def delete(table, account_id, region_name):
        table.associations.clear()
        ec2_backends[account_id][region_name].delete_route_table(table.id)

    route_tables.RouteTable.delete = delete
