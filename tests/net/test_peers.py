# SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0
"""Every client with every server: 200 requests of mixed users, bodies of 0 B to 1 MB both ways, every answer its user's version's, every byte right."""

import pytest

from peers import CLIENTS, SERVERS, requests, serve


@pytest.fixture(scope="module", params=SERVERS)
def server(request, topology, steered):
    for pod in topology.pods:
        serve(pod, request.param)
    return request.param


@pytest.mark.parametrize("client", CLIENTS)
def test_answers_are_the_users_versions_and_whole(topology, server, client, tmp_path):
    for family in (4, 6):
        CLIENTS[client](topology.client1, family, requests(f"{server}-{client}-{family}", 100), tmp_path)
