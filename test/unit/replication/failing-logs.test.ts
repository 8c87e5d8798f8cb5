/** A holder whose log the disk takes no more of, or does not give back, leaves the volume to who has everything. */
import { describe, expect, it } from 'vitest';
import { toSgwError } from '../../../src/core/kit/index.ts';
import { CalmGroup } from './calm-group.ts';

/** What a write and flush at a member end with. */
const codeOf = async (writing: Promise<void>): Promise<string> =>
  await writing.then(
    () => 'done',
    (error: unknown) => toSgwError(error).code,
  );

describe('a holder whose log fails', () => {
  it('C26: leaves the volume to the replica that has everything', async () => {
    const group = await CalmGroup.start(2);
    await group.write(0, 1, 7);
    group.machine(0).own.failSyncs = 'EIO';
    expect(await codeOf(group.write(0, 2, 8))).toBe('log-sync-failed');
    await group.until('the replica holds it', () => group.member(1).holds, 10_000);
    expect(await group.read(1, 1)).toBe(7);
    await group.write(1, 2, 9);
    expect(group.member(0).holds).toBe(false);
  });

  it('goes on reading where there is nobody to leave it to, and says what is the matter', async () => {
    const group = await CalmGroup.start(1);
    await group.write(0, 1, 7);
    group.machine(0).own.failSyncs = 'EIO';
    expect(await codeOf(group.write(0, 2, 8))).toBe('log-sync-failed');
    await group.pass(10_000);
    expect(group.member(0).holds).toBe(true);
    expect(await group.read(0, 1)).toBe(7);
    expect((await group.report(0)).reason).toContain('could not be synced');
  });

  it('C26: leaves it to that one, too, when it can not read what another replica lacks', async () => {
    const group = await CalmGroup.start(3);
    group.kill(2);
    await group.inSync(1);
    await group.write(0, 1, 7);
    group.machine(0).own.failReads = group.placeOf(0, 7);
    group.startAgain(2);
    await group.until('the replica holds it', () => group.member(1).holds, 20_000);
    expect(await group.read(1, 1)).toBe(7);
    await group.inSync(1);
  });
});
