/** Schedules as the daemon runs them: each run once, whatever fails between, and nothing deleted that is not theirs. */
import { copyFile } from 'node:fs/promises';
import { describe, expect, it } from 'vitest';
import { newRestoreId, createRestore } from '../../../../src/core/blockstore/index.ts';
import { withPin } from '../../../../src/core/blockstore/gc/index.ts';
import { Catalog } from '../../../../src/core/blockstore/catalog.ts';
import { systemRandom, type SnapshotId } from '../../../../src/core/kit/index.ts';
import { DAY, HOUR, MINUTE, ScheduleScene, START } from './scene.ts';

const keepDays = (count: number): { count: number; unit: 'day' }[] => [{ count, unit: 'day' }];

async function withSchedule(everyMs = 4 * HOUR, days?: number): Promise<ScheduleScene> {
  const scene = await ScheduleScene.start();
  await scene.addVolume('db');
  await scene.rig.call('schedule.set', {
    volume: 'db',
    everyMs,
    ...(days === undefined ? {} : { keep: keepDays(days) }),
  });
  return scene;
}

describe('runs', () => {
  it('come at the slots, and are named after volume and time', async () => {
    await using scene = await withSchedule();
    await scene.run();
    await scene.pass(10 * HOUR);
    expect(await scene.names()).toEqual(['db-20261129T120000Z', 'db-20261129T160000Z', 'db-20261129T200000Z']);
    const { runs, lastRun, failure, state, nextRunAt } = await scene.schedule();
    expect({ runs, failure, state, nextRunAt }).toEqual({
      ...{ runs: 3, failure: null, state: 'waiting' },
      nextRunAt: '2026-11-30T00:00:00.000Z',
    });
    expect(lastRun?.name).toBe('db-20261129T200000Z');
  });

  it('that were missed are made up once', async () => {
    await using scene = await withSchedule();
    await scene.run();
    await scene.pass(2 * HOUR);
    await scene.end();
    expect((await scene.schedule()).state).toBe('stopped');
    await scene.pass(3 * DAY);
    await scene.run();
    await scene.pass(10 * MINUTE);
    expect(await scene.names()).toEqual(['db-20261129T120000Z', 'db-20261202T123000Z']);
    await scene.pass(4 * HOUR);
    expect(await scene.names()).toHaveLength(3);
  });

  it('wait for a store that is away, one for all that it misses, and tell of it', async () => {
    await using scene = await withSchedule();
    await scene.run();
    scene.setStoreAway(true);
    await scene.pass(13 * HOUR);
    const away = await scene.schedule();
    expect(away).toMatchObject({ state: 'retrying', runs: 0, failure: { code: 'store-error' } });
    expect(away.failure?.at.slice(0, 16)).toBe('2026-11-29T12:00');
    const status = await scene.rig.call('status', {});
    expect(status.remarks.join()).toContain('The schedule of db fails since');
    scene.setStoreAway(false);
    await scene.pass(10 * MINUTE);
    expect(await scene.names()).toHaveLength(1);
    expect(await scene.schedule()).toMatchObject({ state: 'waiting', runs: 1, failure: null });
  });

  it('that had made their snapshot when the daemon died find it again', async () => {
    await using scene = await withSchedule();
    const state = scene.rig.path('home/state.json');
    await scene.run();
    await copyFile(state, scene.rig.path('before.json'));
    await scene.pass(2 * HOUR);
    expect(await scene.names()).toHaveLength(1);
    await scene.end();
    // As it was when it died: the snapshot is there, and not noted.
    await copyFile(scene.rig.path('before.json'), state);
    expect((await scene.schedule()).runs).toBe(0);
    await scene.run();
    await scene.pass(HOUR);
    expect(await scene.names()).toHaveLength(1);
    expect(await scene.schedule()).toMatchObject({ runs: 1, lastRun: { name: 'db-20261129T120000Z' } });
  });

  it('go on at their pace after a clock that ran years ahead is set right, and nothing is deleted by the wrong time', async () => {
    await using scene = await withSchedule(HOUR, 2);
    await scene.run();
    await scene.pass(5 * HOUR);
    const before = (await scene.names()).length;
    const { runs } = await scene.schedule();
    scene.clock.set(START + 3 * 365 * DAY);
    await scene.pass(5 * MINUTE);
    expect(await scene.names()).toHaveLength(before + 1);
    scene.clock.set(START + 5 * HOUR + 5 * MINUTE);
    await scene.pass(9 * MINUTE);
    // The wrong time did not last long enough to be gone by.
    expect(await scene.names()).toHaveLength(before + 1);
    await scene.pass(3 * HOUR);
    const names = await scene.names();
    expect(names.filter((name) => name.startsWith('db-2026112'))).toHaveLength(1);
    expect(names.filter((name) => name.startsWith('db-2029'))).toHaveLength(1);
    // One in the wrong year, and then 16:00, 17:00 and 18:00.
    expect((await scene.schedule()).runs).toBe(runs + 4);
  });

  it('have not failed any more when the clock by which a run was owed is set right', async () => {
    await using scene = await withSchedule();
    await scene.run();
    await scene.pass(2 * HOUR);
    scene.setStoreAway(true);
    scene.clock.set(START + 365 * DAY);
    await scene.pass(5 * MINUTE);
    expect(await scene.schedule()).toMatchObject({ failure: { code: 'store-error' } });
    scene.clock.set(START + 2 * HOUR + 5 * MINUTE);
    scene.setStoreAway(false);
    await scene.pass(20 * MINUTE);
    expect(await scene.schedule()).toMatchObject({ state: 'waiting', runs: 1, failure: null });
    expect(await scene.names()).toHaveLength(1);
  });

  it('come no second time when the clock is set back over a slot', async () => {
    await using scene = await withSchedule();
    await scene.run();
    await scene.pass(2 * HOUR);
    for (let i = 0; i < 5; i++) {
      scene.clock.set(Date.UTC(2026, 10, 29, 11, 59));
      await scene.pass(10 * MINUTE);
    }
    expect(await scene.names()).toHaveLength(1);
  });

  it('are not lost with a volume that is deleted: one is made up when it is undeleted', async () => {
    await using scene = await withSchedule();
    await scene.run();
    await scene.rig.call('volume.delete', { volume: 'db' });
    await scene.pass(9 * HOUR);
    expect(await scene.schedule()).toMatchObject({ runs: 0, failure: { code: 'volume-not-found' } });
    await scene.rig.call('volume.undelete', { volume: 'db' });
    await scene.pass(MINUTE);
    expect(await scene.names()).toEqual(['db-20261129T193000Z']);
  });

  it('ask the store for nothing while none is due', async () => {
    await using scene = await withSchedule(DAY, 2);
    await scene.run();
    await scene.pass(15 * MINUTE);
    expect(scene.events.map(({ kind }) => kind)).toEqual(['thinned']);
    scene.setStoreAway(true);
    await scene.pass(12 * HOUR);
    expect(scene.events).toHaveLength(1);
    expect(await scene.schedule()).toMatchObject({ failure: null, state: 'waiting' });
  });
});

describe('verification', () => {
  it('is done as soon as there is a snapshot, also when that is made by hand', async () => {
    await using scene = await ScheduleScene.start();
    await scene.addVolume('db');
    await scene.rig.call('schedule.set', { volume: 'db', everyMs: 4 * HOUR, verify: { everyMs: 7 * DAY, share: 1 } });
    await scene.run();
    await scene.pass(10 * MINUTE);
    expect((await scene.schedule()).verify?.last).toBeNull();
    await scene.rig.call('snapshot.create', { volume: 'db', name: 'by-hand' });
    await expect
      .poll(async () => (await scene.schedule()).verify?.last, { timeout: 10_000 })
      .toMatchObject({ name: 'by-hand', ok: true });
    expect((await scene.rig.call('status', {})).snapshots).toMatchObject({ count: 1, unverified: 0 });
  });
});

describe('thinning', () => {
  it('keeps what the rules say, after each run and after a restart between', async () => {
    await using scene = await withSchedule(4 * HOUR, 2);
    await scene.run();
    await scene.pass(2 * DAY);
    expect((await scene.names()).map((name) => name.slice(3, 14))).toEqual(['20261130T20', '20261201T08']);
    await scene.pass(90 * MINUTE);
    // It dies between making and thinning.
    await scene.end();
    await scene.run();
    await scene.pass(20 * MINUTE);
    expect((await scene.names()).map((name) => name.slice(3, 14))).toEqual(['20261130T20', '20261201T12']);
  });

  it('leaves alone what is not its own: made by hand, renamed, shared, pinned, being restored', async () => {
    await using scene = await withSchedule(HOUR, 1);
    const { rig, clock } = scene;
    await rig.call('service.account.create', { name: 'partner', accountId: '000000000042' });
    await rig.call('snapshot.create', { volume: 'db', name: 'mine' });
    await rig.call('schedule.set', { volume: 'db', keep: null });
    await scene.run();
    await scene.pass(5 * HOUR);
    const [, renamed, shared, restored, lost, newest] = await scene.snapshots();
    if (renamed === undefined || shared === undefined || restored === undefined || lost === undefined)
      throw new Error();
    await scene.rig.call('snapshot.rename', { snapshot: renamed.name, name: 'kept' });
    await scene.rig.call('snapshot.share', { snapshot: shared.name, accountId: '000000000042' });
    const blocks = { objects: rig.objects, clock, random: systemRandom };
    const catalog = new Catalog(blocks);
    const snapshot = await catalog.getSnapshot(restored.snapshotId as SnapshotId);
    const restoreId = newRestoreId(systemRandom, snapshot.snapshotId);
    await createRestore(blocks, {
      restoreId,
      ...{ snapshotId: snapshot.snapshotId, accountId: snapshot.accountId, sizeBytes: snapshot.sizeBytes },
      ...{
        state: 'restoring',
        createdAt: snapshot.createdAt,
        endedAt: null,
        secret: '00'.repeat(32),
        blockBytes: 65_536,
      },
      ...{ isFinishing: false, gatewayId: 'sgw-01234567', profile: [], snapshot },
      image: { path: '/nowhere', device: '1', inode: '1', bornAtNs: '0' },
    });
    await scene.rig.call('schedule.set', { volume: 'db', keep: keepDays(1) });
    await scene.pass(20 * MINUTE);
    expect(await scene.names()).toEqual(['mine', 'kept', shared.name, restored.name, newest?.name]);
    // What has an end is looked at again.
    await scene.rig.call('snapshot.unshare', { snapshot: shared.name, accountId: '000000000042' });
    await scene.pass(HOUR);
    expect(await scene.names()).toEqual(['mine', 'kept', restored.name, (await scene.schedule()).lastRun?.name]);
  });

  it('leaves a snapshot that is read under a pin until that is over', async () => {
    await using scene = await withSchedule(HOUR, 1);
    const { rig, clock } = scene;
    await rig.call('schedule.set', { volume: 'db', keep: null });
    await scene.run();
    await scene.pass(2 * HOUR);
    const blocks = { objects: rig.objects, clock, random: systemRandom };
    const [first] = await new Catalog(blocks).listSnapshots();
    const place = { key: 'snapshots/x/map', offset: 0 } as unknown as NonNullable<NonNullable<typeof first>['root']>;
    await new Catalog(blocks).updateSnapshot(first?.snapshotId ?? 'snap-', (now) => ({
      ...now,
      root: place,
    }));
    const end = Promise.withResolvers<undefined>();
    const request = { purpose: 'exporting', holder: 'me', roots: [place], check: async () => Promise.resolve() };
    const reading = withPin(blocks, request, async () => end.promise);
    await scene.rig.call('schedule.set', { volume: 'db', keep: keepDays(1) });
    await scene.pass(20 * MINUTE);
    expect(await scene.names()).toContain(first?.name);
    end.resolve(undefined);
    await reading;
    await scene.pass(2 * HOUR);
    expect(await scene.names()).not.toContain(first?.name);
  });

  it('ends where the rules are changed meanwhile', async () => {
    await using scene = await withSchedule(HOUR);
    await scene.run();
    await scene.pass(5 * HOUR);
    const before = (await scene.names()).length;
    const put = scene.below.put.bind(scene.below);
    let deletions = 0;
    scene.below.put = async (key, body, options) => {
      if (key.startsWith('snapshots/snap-') && ++deletions === 1)
        await scene.rig.call('schedule.set', { volume: 'db', keep: null });
      return put(key, body, options);
    };
    await scene.rig.call('schedule.set', { volume: 'db', keep: keepDays(1) });
    await scene.pass(20 * MINUTE);
    // The one that was being deleted when it was said.
    expect(deletions).toBe(1);
    expect(await scene.names()).toHaveLength(before - 1);
  });

  it('is not done by a schedule that takes the place of another', async () => {
    await using scene = await withSchedule(HOUR, 1);
    await scene.run();
    await scene.pass(HOUR);
    await scene.rig.call('schedule.remove', { volume: 'db' });
    await scene.pass(DAY);
    expect(await scene.names()).toHaveLength(1);
    await scene.rig.call('schedule.set', { volume: 'db', everyMs: HOUR, keep: keepDays(1) });
    await scene.pass(3 * HOUR);
    expect(await scene.names()).toHaveLength(2);
  });
});

describe('setting', () => {
  it('changes what is given, and begins another pace at its next slot', async () => {
    await using scene = await withSchedule(DAY, 7);
    const first = await scene.schedule();
    expect(first).toMatchObject({ nextRunAt: '2026-11-30T00:00:00.000Z', state: 'stopped', keep: keepDays(7) });
    expect(first.remarks.join()).toContain('sgw gateway start');
    const at = await scene.rig.call('schedule.set', { volume: 'db', at: '02:30' });
    expect(at).toMatchObject({ nextRunAt: '2026-11-30T02:30:00.000Z', at: '02:30', keep: keepDays(7) });
    const failing = scene.rig.call('schedule.set', { volume: 'db', everyMs: 7 * HOUR });
    await expect(failing).rejects.toMatchObject({ code: 'bad-schedule' });
    expect(await scene.schedule()).toMatchObject({ everyMs: DAY, at: '02:30' });
    const hourly = await scene.rig.call('schedule.set', { volume: 'db', everyMs: HOUR, at: null, keep: null });
    expect(hourly).toMatchObject({ nextRunAt: '2026-11-29T11:00:00.000Z', keep: null });
  });

  it('needs a pace for the first time, and a volume that is there', async () => {
    await using scene = await ScheduleScene.start();
    await scene.addVolume('db');
    const { rig } = scene;
    await expect(rig.call('schedule.set', { volume: 'db', keep: null })).rejects.toMatchObject({
      code: 'schedule-incomplete',
    });
    await expect(rig.call('schedule.set', { volume: 'no', everyMs: HOUR })).rejects.toMatchObject({
      code: 'volume-not-found',
    });
    await expect(rig.call('schedule.show', { volume: 'db' })).rejects.toMatchObject({ code: 'schedule-not-found' });
    expect(await rig.call('schedule.remove', { volume: 'db', ifExists: true })).toEqual({
      volumeId: null,
      name: null,
      removed: false,
    });
    expect(await rig.call('schedule.show', {})).toEqual({ schedules: [] });
  });

  it('is shown and removed by name also while the store is away', async () => {
    await using scene = await withSchedule();
    scene.setStoreAway(true);
    expect((await scene.schedule()).name).toBe('db');
    expect(await scene.rig.call('schedule.remove', { volume: 'db' })).toMatchObject({ name: 'db', removed: true });
    expect(await scene.rig.call('schedule.show', {})).toEqual({ schedules: [] });
  });
});
