"""The acceptance of vipkeeper on a real account; tests/account/run starts it, and docs/account.md explains it.

Where AWS_ENDPOINT_URL names another AWS (moto, in the project's tests), everything is done there, and `--on` names a program
that plays the nodes.
"""

import argparse
import base64
import hashlib
import json
import pathlib
import secrets
import signal
import statistics
import subprocess
import sys
import time

import boto3
from botocore.config import Config
from botocore.exceptions import ClientError, WaiterError

HERE = pathlib.Path(__file__).resolve().parent
TEMPLATE = HERE.parents[1] / "packaging/cloudformation/cluster.yaml"
# The template's own choice.
IMAGE = "/aws/service/debian/release/12/latest/amd64"
# Systems Manager gives back 24,000 characters of what a command prints, and a move takes fewer than 80.
MOST_MOVES = 250
# The answers of the embedded endpoint to the same calls; the project's tests keep the file true.
ENDPOINT = json.loads((HERE / "endpoint.json").read_text())
COST = """
It makes, in {account} in {region}: one VPC, three {type} instances, their public IPv4 addresses, {more}
and a bucket for the package. That is about {price} USD an hour, by prices for us-east-1 that were written down on 2026-11-28 and not
compared since: look at the price list, https://aws.amazon.com/ec2/pricing/on-demand/. It takes half an hour. AWS may charge moves
of an Elastic IP, about 0.10 USD each after the first 100 of a month: this makes {moves}. Everything is deleted at the end, also
after a failure. Should this program be killed, delete by hand:

    aws cloudformation delete-stack --region {region} --stack-name {stack}
    aws s3 rb --region {region} --force s3://{stack}
"""
RESPONDER = (
    "systemctl stop pgpool2; systemd-run --quiet --unit vip-responder python3 -c "
    "'import socket; s = socket.create_server((\"0.0.0.0\", 9999), backlog=100)\n"
    "while True:\n c, _ = s.accept(); c.sendall(b\"{eni}\"); c.close()'"
)


class Failed(Exception):
    """The acceptance has failed; its text says why."""


def arguments():
    parser = argparse.ArgumentParser(prog="tests/account/run", description=__doc__.split("\n")[0])
    parser.add_argument("--method", choices=["route", "elastic-ip"], required=True)
    parser.add_argument("--package", required=True, help="vipkeeper's .deb")
    parser.add_argument("--region", help="otherwise that of the environment or of the profile")
    parser.add_argument("--moves", type=int, default=100, help=f"moves that are measured, {MOST_MOVES} at most (100)")
    parser.add_argument("--instance-type", default="t3.small")
    parser.add_argument("--image", help="a parameter of Systems Manager with the image's id, instead of the template's")
    parser.add_argument("--yes", action="store_true", help="do not ask")
    parser.add_argument("--on", help="a program that plays the nodes: it gets the instance and the command")
    parser.add_argument("--patience", type=float, default=900, help="seconds that anything may take (900)")
    options = parser.parse_args()
    if not 1 <= options.moves <= MOST_MOVES:
        parser.error(f"--moves: 1 to {MOST_MOVES}")
    return options


class Account:
    """Everything that is made in the account, and its end."""

    def __init__(self, options):
        self.options = options
        session = boto3.Session(region_name=options.region)
        if session.region_name is None:
            raise Failed("no region: give --region")
        self.region = session.region_name
        names = ["cloudformation", "ec2", "ssm", "sts"]
        self.cloudformation, self.ec2, self.ssm, self.sts = map(session.client, names)
        # A URL of the bucket's own region: to the others a new bucket answers with a redirection, which no signature survives.
        virtual = {"addressing_style": "virtual", "us_east_1_regional_endpoint": "regional"}
        self.s3 = session.client("s3", config=Config(signature_version="s3v4", s3=virtual))
        self.name = f"vipkeeper-acceptance-{secrets.token_hex(4)}"
        self.has_stack = self.has_bucket = False

    def look(self):
        """Whether the image is there, before anything is made."""
        image = self.options.image or IMAGE
        try:
            self.ssm.get_parameter(Name=image)
        except self.ssm.exceptions.ParameterNotFound:
            raise Failed(f"{self.region} has no parameter {image}: name another with --image. Nothing was made") from None

    def ask(self):
        elastic = self.options.method == "elastic-ip"
        more = "an Elastic IP, a VPC endpoint in three zones and three in one" if elastic else "two route tables"
        account = self.sts.get_caller_identity()["Account"]
        told = {"account": account, "region": self.region, "type": self.options.instance_type, "stack": self.name}
        moves = self.options.moves + 10 if elastic else "none"
        print(COST.format(more=more, price="0.15" if elastic else "0.08", moves=moves, **told), flush=True)
        if not self.options.yes and input("Go on? [yes/no] ") != "yes":
            raise Failed("nothing was made")

    def upload(self):
        """Where the nodes get the package, and its digest."""
        package = pathlib.Path(self.options.package).read_bytes()
        place = {"Bucket": self.name}
        if self.region != "us-east-1":
            place["CreateBucketConfiguration"] = {"LocationConstraint": self.region}
        self.has_bucket = True
        self.s3.create_bucket(**place)
        self.s3.put_object(Bucket=self.name, Key="vipkeeper.deb", Body=package)
        where = {"Bucket": self.name, "Key": "vipkeeper.deb"}
        url = self.s3.generate_presigned_url("get_object", Params=where, ExpiresIn=3600)
        return url, hashlib.sha256(package).hexdigest()

    def create(self):
        url, digest = self.upload()
        values = {
            "Method": self.options.method,
            "PackageUrl": url,
            "PackageSha256": digest,
            "InstanceType": self.options.instance_type,
            "RunCommands": "yes",
        }
        # The probe comes from the third node's public address, which nobody knows before.
        values |= {"Clients": "0.0.0.0/0"} if self.options.method == "elastic-ip" else {}
        template = TEMPLATE.read_text()
        template = template.replace(IMAGE, self.options.image or IMAGE)
        self.has_stack = True
        self.cloudformation.create_stack(
            StackName=self.name,
            TemplateBody=template,
            Capabilities=["CAPABILITY_IAM"],
            OnFailure="DO_NOTHING",
            Parameters=[{"ParameterKey": key, "ParameterValue": value} for key, value in values.items()],
        )
        try:
            self.cloudformation.get_waiter("stack_create_complete").wait(StackName=self.name)
        except WaiterError as error:
            # The reasons go with the stack.
            events = self.cloudformation.describe_stack_events(StackName=self.name)["StackEvents"]
            failed = [one for one in reversed(events) if one["ResourceStatus"] == "CREATE_FAILED"]
            why = [f"{one['LogicalResourceId']}: {one.get('ResourceStatusReason')}" for one in failed]
            raise Failed(f"{error}: {'; '.join(why)}") from None
        shown = self.cloudformation.describe_stacks(StackName=self.name)["Stacks"][0]["Outputs"]
        return {one["OutputKey"]: one["OutputValue"] for one in shown}

    def delete(self):
        """Deletes everything. What cannot be deleted is told at the end, and does not keep the rest."""
        left = []
        for made, what, how in [
            (self.has_stack, f"the stack {self.name}", self.delete_stack),
            (self.has_bucket, f"the bucket {self.name}", self.delete_bucket),
        ]:
            try:
                if made:
                    how()
                    print(f"deleted: {what}", flush=True)
            except Exception as error:  # Whatever it is, the next one must be deleted too.
                left.append(f"{what}: {error}")
        return left

    def delete_stack(self):
        # Nodes are ended by the stack; an association or a route that is vipkeeper's goes with them or with the table.
        self.cloudformation.delete_stack(StackName=self.name)
        self.cloudformation.get_waiter("stack_delete_complete").wait(StackName=self.name)

    def delete_bucket(self):
        try:
            self.s3.delete_object(Bucket=self.name, Key="vipkeeper.deb")
            self.s3.delete_bucket(Bucket=self.name)
        except self.s3.exceptions.NoSuchBucket:
            # It was never made.
            pass


class Cluster:
    """The nodes, and the VIP as EC2 shows it."""

    def __init__(self, account, outputs):
        self.account, self.ec2, self.options = account, account.ec2, account.options
        self.vip = outputs["DelegateIp"]
        self.tables = outputs.get("RouteTables", "").split()
        self.allocation = outputs.get("AllocationId")
        self.nodes = {}
        for node in outputs["Nodes"].split():
            shown = self.ec2.describe_instances(InstanceIds=[node])["Reservations"][0]["Instances"][0]
            self.nodes[shown["NetworkInterfaces"][0]["NetworkInterfaceId"]] = node

    def on(self, node, line, may_fail=False):
        """A command on a node, as root: what it prints."""
        if self.options.on:
            done = subprocess.run([self.options.on, node, line], capture_output=True, text=True, check=False)
            status, text, errors = done.returncode, done.stdout, done.stderr
        else:
            status, text, errors = self.by_systems_manager(node, line)
        if status != 0 and not may_fail:
            raise Failed(f"{node}: {line[:200]}: {status}: {text}{errors}")
        return text

    def by_systems_manager(self, node, line):
        ssm = self.account.ssm
        # Each move is watched for some seconds.
        more_s = 10 * self.options.moves
        limit_s = int(self.options.patience + more_s)
        command = {"commands": [line], "executionTimeout": [str(limit_s)]}
        sent = ssm.send_command(InstanceIds=[node], DocumentName="AWS-RunShellScript", Parameters=command)
        sent = sent["Command"]["CommandId"]

        def done():
            try:
                shown = ssm.get_command_invocation(CommandId=sent, InstanceId=node)
            except ssm.exceptions.InvocationDoesNotExist:
                return None
            return None if shown["Status"] in ("Pending", "InProgress", "Delayed") else shown

        shown = self.wait(f"the end of '{line[:60]}'", done, more_s)
        return shown["ResponseCode"], shown["StandardOutputContent"], shown["StandardErrorContent"]

    def wait(self, what, is_so, more_s=0):
        """Waits until it is so; returns it."""
        patience_s = self.options.patience + more_s
        until = time.monotonic() + patience_s
        while True:
            found = is_so()
            if found:
                return found
            if time.monotonic() > until:
                raise Failed(f"not within {patience_s:.0f} s: {what}")
            time.sleep(1)

    def leader(self):
        """The node that everything points at."""
        if self.allocation:
            enis = {self.ec2.describe_addresses(AllocationIds=[self.allocation])["Addresses"][0].get("NetworkInterfaceId")}
        else:
            tables = self.ec2.describe_route_tables(RouteTableIds=self.tables)["RouteTables"]
            target = lambda table: [
                route.get("NetworkInterfaceId")
                for route in table["Routes"]
                if route.get("DestinationCidrBlock") == f"{self.vip}/32"
            ]
            enis = {(target(table) or [None])[0] for table in tables}
        return self.nodes.get(enis.pop()) if len(enis) == 1 else None

    def remove(self):
        """A careless colleague."""
        if self.allocation:
            shown = self.ec2.describe_addresses(AllocationIds=[self.allocation])["Addresses"][0]
            self.ec2.disassociate_address(AssociationId=shown["AssociationId"])
        else:
            self.ec2.delete_route(RouteTableId=self.tables[0], DestinationCidrBlock=f"{self.vip}/32")


def walkthrough(cluster):
    """The README's "Prove it"."""

    def timed(what, is_so):
        began = time.monotonic()
        found = cluster.wait(what, is_so)
        print(f"  {time.monotonic() - began:6.1f} s  {what}", flush=True)
        return found

    def is_ready():
        try:
            return all(cluster.on(node, "vipkeeper status") for node in cluster.nodes.values())
        except (ClientError, Failed):
            # Systems Manager does not know a node that boots, and the daemon comes last.
            return False

    timed("every node is set up", is_ready)
    old = timed("a node leads", cluster.leader)
    for node in cluster.nodes.values():
        # 3 is the exit status for warnings alone.
        print(f"  {node}: {cluster.on(node, 'vipkeeper check || [ $? = 3 ]')}")
    cluster.on(old, "systemctl stop pgpool2")
    new = timed("another node leads", lambda: cluster.leader() not in (None, old) and cluster.leader())
    cluster.on(old, "systemctl start pgpool2")
    cluster.remove()

    def is_back():
        if cluster.options.on:
            # The program that plays the nodes has no daemon, and puts back what is gone when it is asked.
            cluster.on(new, "vipkeeper status")
        return cluster.leader() == new

    timed("what was removed by hand is back", is_back)
    cluster.on(new, "systemctl restart vipkeeper")
    for _ in range(10):
        if cluster.leader() != new:
            raise Failed("a restart of the daemon moved the VIP")
        time.sleep(0.2)
    print("  a restart of the daemon moved nothing", flush=True)
    return old, new


def measure(cluster, led):
    """Measures on the node that never led, between the other two, while every node holds. A node that an Elastic IP has left may
    have no public address any more, and packages come by that."""
    by_node = {node: eni for eni, node in cluster.nodes.items()}
    (first, a), (second, b) = [(by_node[node], node) for node in led]
    third = next(node for node in by_node if node not in led)
    for eni, node in [(first, a), (second, b)]:
        cluster.on(node, f"vipkeeper hold {cluster.vip} --for 1h && {RESPONDER.format(eni=eni)}")
        if not cluster.allocation:
            cluster.on(node, f"ip address add {cluster.vip}/32 dev lo", True)
    cluster.on(third, f"vipkeeper hold {cluster.vip} --for 1h")
    cluster.on(third, "apt-get -qq -o DPkg::Lock::Timeout=300 install --yes python3-boto3")
    order = {
        "method": cluster.options.method,
        "vip": cluster.vip,
        # The moment of a move is that of the last table, so the last one is the nodes' own: the probe's packets go by it.
        "tables": cluster.tables[::-1],
        "allocation": cluster.allocation,
        "enis": [first, second],
        "rounds": cluster.options.moves,
        "settle_s": 2,
        "port": 9999,
    }
    script = base64.b64encode((HERE / "measure.py").read_bytes()).decode()
    line = f"echo {script} | base64 --decode >/root/measure.py; AWS_DEFAULT_REGION={cluster.account.region} "
    return json.loads(cluster.on(third, f"{line}python3 /root/measure.py '{json.dumps(order)}'"))


def tell(method, found):
    """What was measured, and where the embedded endpoint differs."""
    moves = found["moves"]
    for key, what in [("read_s", "the last read of the old state began"), ("packet_s", "the first packet went the new way")]:
        known = sorted(move[key] for move in moves if move[key] is not None)
        if known:
            late = known[min(len(known) - 1, int(0.99 * len(known)))]
            told = f"median {statistics.median(known):.2f} s, 99 % {late:.2f} s, longest {known[-1]:.2f} s"
            print(f"  {what} after: {told} ({len(known)} of {len(moves)})")
        else:
            print(f"  {what}: not measured")
    print(f"  stale reads: {sum(move['stale'] for move in moves)}; reads that went back: {sum(move['back'] for move in moves)}")
    slow = [move for move in moves if move["read_s"] > 5]
    if slow:
        print(f"  !! after {len(slow)} moves reads lagged by more than the 5 s that docs/claims.md rests on")
    differing = 0
    for call, answer in found["answers"].items():
        expected = ENDPOINT[method].get(call)
        if answer == expected:
            print(f"  same    {call}: {answer}")
        else:
            differing += 1
            print(f"  DIFFERS {call}: {answer}; the endpoint: {expected}")
    print(f"  the embedded endpoint differs in {differing} of {len(found['answers'])} answers", flush=True)


SIGNALS = [signal.SIGINT, signal.SIGTERM, signal.SIGHUP]


def interrupted(number, _frame):
    # Nothing may interrupt the end.
    for other in SIGNALS:
        signal.signal(other, signal.SIG_IGN)
    raise Failed(f"ended by signal {number}")


def main():
    options = arguments()
    for number in SIGNALS:
        signal.signal(number, interrupted)
    failure, account = None, None
    try:
        account = Account(options)
        account.look()
        account.ask()
        cluster = Cluster(account, account.create())
        print("walkthrough:", flush=True)
        led = walkthrough(cluster)
        print("measured:", flush=True)
        tell(options.method, measure(cluster, led))
    except Exception as error:  # Whatever it is, everything is deleted.
        failure = f"{type(error).__name__}: {error}"
    finally:
        for number in SIGNALS:
            signal.signal(number, signal.SIG_IGN)
        left = account.delete() if account else []
    for line in left:
        print(f"STILL THERE: {line}", file=sys.stderr)
    if failure:
        print(f"FAILED: {failure}", file=sys.stderr)
    elif not left:
        print("ACCEPTED")
    sys.stdout.flush()
    sys.exit(1 if failure or left else 0)


if __name__ == "__main__":
    main()
