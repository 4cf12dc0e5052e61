#!/bin/sh
# elastic-ip.sh up|down ELASTIC-IP
#
# Moves an Elastic IP as Pgpool-II's guide for AWS has its readers do it: look the address up, then associate it with this
# instance, or look up and take away whatever association it has. Written for this comparison; the calls and their order are the
# guide's. /etc/guide/settings says who this instance is.
. /etc/guide/settings

of_address() {
    aws ec2 describe-addresses --public-ips "$1" --query "Addresses[0].$2" --output text
}

allocation=$(of_address "$2" AllocationId) || exit 1
case $1 in
up)
    aws ec2 associate-address --allocation-id "$allocation" --instance-id "$INSTANCE" >/dev/null
    ;;
down)
    association=$(of_address "$2" AssociationId) || exit 1
    aws ec2 disassociate-address --association-id "$association" >/dev/null
    ;;
esac
