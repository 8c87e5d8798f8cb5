/** A member whose host fails once, or for long: its disk is full, it has no file descriptors, it gives no lock. */
import { describe, expect, it } from 'vitest';
import { SgwError } from '../../../src/core/kit/index.ts';
import type { HostCall } from '../../sim/groups/sim-member.ts';
import { CalmGroup } from './calm-group.ts';

const full = (): SgwError => new SgwError('exhausted', 'disk-full', 'the disk is full');

const isMember = (group: CalmGroup, index: number, id: string): boolean => id === group.machines[index]?.id;

/** Has a call of a member fail, so many times. */
function failing(group: CalmGroup, index: number, wanted: HostCall, times = 1): void {
  let left = times;
  group.onHost = (id, call) => {
    if (!isMember(group, index, id) || call !== wanted || left === 0) return;
    left -= 1;
    throw full();
  };
}

describe('which log there is', () => {
  it('is looked for again, at growing distances, where it could not be found out; then the member joins', async () => {
    const group = await CalmGroup.start(2);
    group.kill(1);
    await group.inSync(0);
    failing(group, 1, 'open', 3);
    group.start(group.machines[1]?.id ?? '');
    await group.pass(1000);
    expect((await group.report(1)).reason).toBe('the disk is full');
    await group.inSync(1);
    const opened = group.calls.filter(({ id, call }) => isMember(group, 1, id) && call === 'open').slice(-4);
    const distances = opened.slice(1).map(({ atMs }, i) => atMs - (opened[i]?.atMs ?? 0));
    expect(distances[0]).toBeGreaterThan(900);
    expect(distances[2]).toBeGreaterThan(distances[0] ?? 0);
    expect((await group.report(1)).reason).toBeNull();
  });

  it('is found out anew when leaving the volume failed half-way: who has nobody to leave it to goes on', async () => {
    const group = await CalmGroup.start(1);
    failing(group, 0, 'demote');
    group.member(0).serving?.fence(full());
    await group.until('it has tried to leave', () => group.calls.some(({ call }) => call === 'demote'));
    await group.until('it holds the volume again', () => group.member(0).holds);
    await group.write(0, 1, 7);
    expect(await group.read(0, 1)).toBe(7);
  });
});

describe('a candidate', () => {
  it('whose replica log could not be moved takes the volume over when it looks again', async () => {
    const group = await CalmGroup.start(2);
    await group.write(0, 1, 7);
    failing(group, 1, 'adopt');
    group.kill(0);
    await group.until('it has tried', () =>
      group.calls.some(({ id, call }) => isMember(group, 1, id) && call === 'adopt'),
    );
    await group.until('it holds the volume', () => group.member(1).holds, 10_000);
    expect(await group.read(1, 1)).toBe(7);
  });

  it('that can not open the volume once the head is its own takes an epoch less and less often, and says why', async () => {
    const group = await CalmGroup.start(2);
    const { epoch } = await group.head();
    // Its log has no room for the note that begins an incarnation.
    group.onHost = (id, call) => {
      if (isMember(group, 1, id) && call === 'promote') group.machine(1).own.failWrites = 'ENOSPC';
    };
    group.kill(0);
    await group.until('it has tried', () =>
      group.calls.some(({ id, call }) => isMember(group, 1, id) && call === 'promote'),
    );
    await group.pass(60_000);
    const taken = (await group.head()).epoch - epoch;
    expect(taken).toBeGreaterThan(2);
    expect(taken).toBeLessThan(9);
    expect((await group.report(1)).reason).toContain('no space left');
    group.onHost = () => undefined;
    group.machine(1).own.failWrites = undefined;
    await group.until('it holds the volume', () => group.member(1).holds);
  });
});
