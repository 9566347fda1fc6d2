import threading, time, redis
from tests.arena.http_world import *
from tests.services import redis_server
def test_it(world):
    voter = world.voter()
    voter.ready()
    for n in range(6):
        gate = threading.Event()
        world.answers(
            "wait", m0=["early text", Finished("stop")], m1=[gate, "late", Finished("stop")]
        )
        with world.pinned("m0", "m1"):
            battle_id = voter.battle("wait")
        t=time.time()
        response = voter.get(f"/api/battles/{battle_id}/events")
        gate.set()
        for b in response.response:
            print(n, round(time.time()-t,2), b, world.store.battles.turn(battle_id,1).state, world.redis.lrange(f"arena:live:{battle_id}:1",0,-1))
        response.close()
