/** C13, C26: a member whose log the disk has damaged leaves the volume to others, before it touches the head. */
import { describe, expect, it } from 'vitest';
import { CalmGroup, PAGE } from './calm-group.ts';

/** Turns a bit of the page that is full of `value`. */
function damage(group: CalmGroup, index: number, value: number, which: 'own' | 'replica' = 'replica'): void {
  const { name, page } = group.placeOf(index, value, which);
  const disk = group.machine(index)[which];
  disk.bytesOf(name).writeUInt8(value ^ 1, page * PAGE);
}

async function written(members: number): Promise<CalmGroup> {
  const group = await CalmGroup.start(members);
  await group.write(0, 1, 0x77);
  await group.write(0, 2, 0x88);
  return group;
}

describe('a damaged log', () => {
  it('C26: of the first candidate is no reason to keep the others out: the next one serves', async () => {
    const group = await written(3);
    const { epoch } = await group.head();
    damage(group, 1, 0x77);
    group.kill(0);
    await group.until('the second candidate holds it', () => group.member(2).holds);
    expect([await group.read(2, 1), await group.read(2, 2)]).toEqual([0x77, 0x88]);
    expect((await group.head()).epoch).toBe(epoch + 1);
    await group.inSync(1);
  });

  it('C13: of the only member that has the volume is told, and no epoch taken; the operator has it go on with what the store has', async () => {
    const group = await written(1);
    const { epoch } = await group.head();
    group.kill(0);
    damage(group, 0, 0x77, 'own');
    group.startAgain(0);
    await group.until('it has tried', () => group.calls.filter(({ call }) => call === 'promote').length > 1);
    await group.pass(30_000);
    expect((await group.head()).epoch).toBe(epoch);
    expect((await group.report(0)).reason).toContain('is damaged');
    expect(group.calls.filter(({ call }) => call === 'promote').length).toBeLessThan(8);
    await group.run(group.acceptLoss(0));
    expect(await group.read(0, 1)).toBe(0);
    await group.write(0, 1, 0x99);
  });

  it('whose damaged part the store has is taken over with', async () => {
    const group = await written(2);
    await group.run(group.member(0).serving?.drain() ?? Promise.resolve());
    damage(group, 1, 0x77);
    group.kill(0);
    await group.until('the candidate holds it', () => group.member(1).holds);
    expect([await group.read(1, 1), await group.read(1, 2)]).toEqual([0x77, 0x88]);
  });
});
