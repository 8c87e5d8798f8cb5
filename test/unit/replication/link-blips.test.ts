/** C26: a replica whose connection ends for a moment is not replaced by another that is connected. */
import { expect, it } from 'vitest';
import { CalmGroup } from './calm-group.ts';

async function linkGone(group: CalmGroup, replica: number, forMs: number): Promise<ReadonlySet<string>> {
  const [holder, other] = [group.machine(0).id, group.machine(replica).id];
  group.network.breakLink(holder, other);
  group.network.cut(holder, other);
  const sets = new Set<string>();
  for (const mendAt = group.world.nowMs + forMs, endAt = mendAt + 5000; group.world.nowMs < endAt;) {
    await group.pass(50);
    if (group.world.nowMs >= mendAt) group.network.mend();
    sets.add((await group.head()).inSync.join(' '));
  }
  return sets;
}

/** Of three members, of which one is the replica: which. */
async function replicaIn(group: CalmGroup): Promise<number> {
  const { inSync } = await group.head();
  return group.machines.findIndex(({ id }, index) => index > 0 && inSync.includes(id));
}

it('stays in the set, alone', async () => {
  const group = await CalmGroup.start(3, 1);
  const replica = await replicaIn(group);
  const { inSync } = await group.head();
  await group.write(0, 1, 7);
  expect([...(await linkGone(group, replica, 400))]).toEqual([inSync.join(' ')]);
});

it('is replaced when the connection is not made again', async () => {
  const group = await CalmGroup.start(3, 1);
  const replica = await replicaIn(group);
  await group.write(0, 1, 7);
  await linkGone(group, replica, 4000);
  await group.inSync(1);
  expect(await replicaIn(group)).toBe(3 - replica);
});
