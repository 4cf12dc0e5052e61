"""moto's server with Elastic IPs that can be VIPs, because its own are of the loopback network, which vipkeeper refuses; and
with route tables that go when their stack goes.

Python runs this file at its start, wherever PYTHONPATH names its folder.
"""

import itertools

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
