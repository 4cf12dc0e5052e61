"""Measures EC2 from one node, with the node's own role: how long reads lag behind writes, how long packets do, and what EC2
answers where its documents leave it open. One process on one machine makes the changes, reads and probes, so that one clock
measures everything. Prints JSON.

    measure.py '{"method": "route", "vip": ..., "tables": [...], "enis": [...], "rounds": 100,
                "settle_s": 2, "port": 9999}'

While it runs, nothing else moves the VIP: every node holds (`vipkeeper hold`), and answers at the port with its ENI's id.
"""

import json
import os
import socket
import sys
import threading
import time

import boto3
from botocore.config import Config
from botocore.exceptions import ClientError

# After so long neither a read nor a packet is waited for.
PATIENCE_S = float(os.environ.get("MEASURE_PATIENCE_S", "60"))
PROBE_EACH_S = 0.02
# After so many moves in a row that no packet followed, packets are waited for no more.
MISSED = 3
# EC2 bears twenty reads of a kind a second, of the whole account (request throttling for the EC2 API).
READ_EACH_S = 0.1


class Routes:
    """The VIP by routes: all tables are changed, and the last one counts."""

    def __init__(self, ec2, order):
        self.ec2, self.tables, self.destination = ec2, order["tables"], order["vip"] + "/32"

    def point(self, eni):
        for table in self.tables:
            where = {"RouteTableId": table, "DestinationCidrBlock": self.destination}
            try:
                self.ec2.replace_route(**where, NetworkInterfaceId=eni)
            except ClientError as error:
                if "NotFound" not in str(error) and "InvalidParameterValue" not in str(error):
                    raise
                # EC2 replaces nothing that is not there.
                self.ec2.create_route(**where, NetworkInterfaceId=eni)

    def read(self):
        shown = self.ec2.describe_route_tables(RouteTableIds=[self.tables[-1]])["RouteTables"][0]["Routes"]
        found = [route for route in shown if route.get("DestinationCidrBlock") == self.destination]
        return found[0].get("NetworkInterfaceId") if found else None

    def answers(self, here, elsewhere):
        table = self.tables[-1]
        where = {"RouteTableId": table, "DestinationCidrBlock": self.destination}
        absent = {"RouteTableId": table, "DestinationCidrBlock": "192.0.2.1/32"}
        self.point(here)
        return {
            "CreateRoute where the same route is": code(self.ec2.create_route, **where, NetworkInterfaceId=here),
            "CreateRoute where another node's is": code(self.ec2.create_route, **where, NetworkInterfaceId=elsewhere),
            "ReplaceRoute where none is": code(self.ec2.replace_route, **absent, NetworkInterfaceId=here),
            "a dry run of ReplaceRoute": code(self.ec2.replace_route, **where, NetworkInterfaceId=here, DryRun=True),
        }


class ElasticIp:
    """The VIP by an Elastic IP."""

    def __init__(self, ec2, order):
        self.ec2, self.allocation = ec2, order["allocation"]

    def point(self, eni):
        call = {"AllocationId": self.allocation, "NetworkInterfaceId": eni}
        return self.ec2.associate_address(**call, AllowReassociation=True)["AssociationId"]

    def read(self):
        shown = self.ec2.describe_addresses(AllocationIds=[self.allocation])["Addresses"][0]
        return shown.get("NetworkInterfaceId") or None

    def answers(self, here, elsewhere):
        old = self.point(here)
        call = {"AllocationId": self.allocation, "AllowReassociation": False}
        again = code(self.ec2.associate_address, **call, NetworkInterfaceId=here)
        taken = code(self.ec2.associate_address, **call, NetworkInterfaceId=elsewhere)
        kept = "the same id" if self.point(here) == old else "another id"
        dry = code(self.ec2.associate_address, **call, NetworkInterfaceId=here, DryRun=True)
        self.point(elsewhere)
        return {
            "AssociateAddress where it is, AllowReassociation=false": again,
            "AssociateAddress from elsewhere, AllowReassociation=false": taken,
            "AssociateAddress where it is gives": kept,
            "a dry run of AssociateAddress": dry,
            "DisassociateAddress of an association that is over": code(
                self.ec2.disassociate_address, AssociationId=old
            ),
        }


def code(call, **arguments):
    """What EC2 answers: OK, or its code and the HTTP status."""
    try:
        call(**arguments)
        return "OK"
    except ClientError as error:
        return f"{error.response['Error']['Code']} {error.response['ResponseMetadata']['HTTPStatusCode']}"


class Probe(threading.Thread):
    """Asks again and again who answers at the VIP."""

    def __init__(self, place):
        super().__init__(daemon=True)
        self.place, self.seen = place, []

    def run(self):
        while True:
            began = time.monotonic()
            try:
                with socket.create_connection(self.place, timeout=1) as connection:
                    self.seen.append((began, connection.recv(64).decode().strip()))
            except OSError:
                pass
            time.sleep(max(0, PROBE_EACH_S - (time.monotonic() - began)))

    def first_from(self, eni, since):
        """When the first probe began that this ENI answered."""
        until = time.monotonic() + PATIENCE_S
        while time.monotonic() < until:
            found = [at for at, who in self.seen if at >= since and who == eni]
            if found:
                return found[0]
            time.sleep(PROBE_EACH_S)
        return None


def one_move(pointer, eni, probe, settle_s):
    """One move, and how long after EC2's answer to it the last read began that showed the old state, and the first packet was
    sent that went the new way."""
    pointer.point(eni)
    answered = last_stale = time.monotonic()
    stale = back = 0
    was_seen = False
    # Two reads may see two replicas: one that shows the move does not end it.
    while time.monotonic() - last_stale < settle_s and time.monotonic() - answered < PATIENCE_S:
        began = time.monotonic()
        if pointer.read() == eni:
            was_seen = True
        else:
            stale, back, last_stale = stale + 1, back + was_seen, began
        time.sleep(max(0, READ_EACH_S - (time.monotonic() - began)))
    arrived = probe.first_from(eni, answered) if probe else None
    packet_s = None if arrived is None else round(arrived - answered, 3)
    return {"read_s": round(last_stale - answered, 3), "stale": stale, "back": back, "packet_s": packet_s}


def main(order):
    # Each answer counts as it comes: nothing is tried again behind the measurement's back.
    ec2 = boto3.client("ec2", config=Config(retries={"total_max_attempts": 1}))
    pointer = (Routes if order["method"] == "route" else ElasticIp)(ec2, order)
    here, elsewhere = order["enis"]
    probe = None
    if order.get("port"):
        probe = Probe((order["vip"], order["port"]))
        probe.start()
    pointer.point(here)
    moves, missed = [], 0
    for round_number in range(order["rounds"]):
        moves.append(one_move(pointer, [elsewhere, here][round_number % 2], probe, order["settle_s"]))
        missed = missed + 1 if probe and moves[-1]["packet_s"] is None else 0
        if missed == MISSED:
            probe = None
    print(json.dumps({"moves": moves, "answers": pointer.answers(here, elsewhere)}))


if __name__ == "__main__":
    main(json.loads(sys.argv[1]))
