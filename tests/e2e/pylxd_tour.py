"""What a Python program does with containers through pylxd; prints `done` at its end."""
import sys
import urllib.parse

import pylxd

client = pylxd.Client(endpoint="http+unix://" + urllib.parse.quote(sys.argv[1], safe=""))
assert client.host_info["api_version"] == "1.0"
assert client.instances.all() == []
image = client.images.get_by_alias("bb")
assert image.properties["os"] == "BusyBox", image.properties
config = {"name": "p1", "config": {"limits.memory": "64MiB"}, "source": {"type": "image", "alias": "bb"}}
instance = client.instances.create(config, wait=True)
assert instance.status == "Stopped"
instance.start(wait=True)
assert instance.state().status == "Running" and instance.state().pid > 0
done = instance.execute(["sh", "-c", "echo out; echo err >&2; exit 3"])
assert (done.exit_code, done.stdout, done.stderr) == (3, "out\n", "err\n"), done
instance = client.instances.get("p1")
instance.description = "by pylxd"
instance.save(wait=True)
assert client.instances.get("p1").description == "by pylxd"
instance.freeze(wait=True)
instance.unfreeze(wait=True)
instance.restart(wait=True, force=True)
instance.stop(wait=True, force=True)
instance.rename("p2", wait=True)
client.instances.get("p2").delete(wait=True)
assert not client.instances.exists("p2")
profile = client.profiles.create("pp", config={"limits.cpu": "1"}, devices={})
assert profile.config == {"limits.cpu": "1"}
profile.delete()
try:
    client.instances.get("p2")
    raise SystemExit("an instance that is gone was found")
except pylxd.exceptions.NotFound:
    pass
print("done")
