#!/bin/sh
# routes.sh up|down ADDRESS
#
# Moves routes as Pgpool-II's guide for AWS has its readers do it: table after table, then the local address; and back.
# Written for this comparison; the calls and their order are the guide's. /etc/guide/settings says who this instance is.
. /etc/guide/settings

case $1 in
up)
    for table in $TABLES; do
        route="--route-table-id $table --destination-cidr-block $2/32 --network-interface-id $ENI"
        # shellcheck disable=SC2086 # options
        aws ec2 create-route $route >/dev/null || aws ec2 replace-route $route >/dev/null || exit 1
    done
    ip addr add "$2/32" dev eth0 label eth0:1
    ;;
down)
    ip addr del "$2/32" dev eth0
    for table in $TABLES; do
        aws ec2 delete-route --route-table-id "$table" --destination-cidr-block "$2/32"
    done
    ip route flush table local "$2/32"
    ;;
esac
