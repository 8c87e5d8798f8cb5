/** C26: a shadowing volume of a group. What is only in the image no other member has, so none is in the set then. */
import { afterEach, expect, it } from 'vitest';
import { SgwError, seededRandom, systemClock } from '../../src/core/kit/index.ts';
import { HeldSink, settle, watched } from '../unit/volume/held-sink.ts';
import { ShadowScene } from './shadow-scene.ts';

const SIZE = 4 << 20;
const PAGE = 4096;

let scene: ShadowScene | undefined;
afterEach(async () => {
  await scene?.volume.close().catch(() => undefined);
  scene = undefined;
});

async function start(sink: HeldSink): Promise<ShadowScene> {
  scene = await ShadowScene.start(seededRandom(26), SIZE, sink);
  return scene;
}

/** Writes until the buffer is full. */
async function fill(here: ShadowScene): Promise<{ state: string }> {
  for (let i = 0; i < 40; i++) {
    const write = here.volume.write((i % 50) * 65_536, Buffer.alloc(65_536, i));
    const seen = watched(write);
    for (let turn = 0; turn < 20 && seen.state === 'waits'; turn++) await systemClock.sleep(2);
    if (seen.state === 'waits' || here.volume.stats.shadow?.phase === 'pass-through') return seen;
  }
  throw new Error('the buffer is not full');
}

it('C26: has no members while it bootstraps, and may have them when the store has caught up', async () => {
  const sink = new HeldSink();
  sink.all();
  const here = await start(sink);
  expect(sink.calls.slice(0, 2)).toEqual(['begin', 'suspend']);
  await here.settled();
  while (sink.isSuspended) await systemClock.sleep(2);
  expect(sink.calls).toContain('resume');
  await here.check();
  // What is level when it is opened has all in its log.
  sink.calls.splice(0);
  await here.closeInOrder();
  await here.open();
  while (sink.calls.length < 2) await systemClock.sleep(2);
  expect(new Set(sink.calls)).toEqual(new Set(['begin', 'resume']));
});

it('C26: acknowledges, flushes and reads as its sink allows', async () => {
  const sink = new HeldSink();
  sink.all();
  const here = await start(sink);
  await here.settled();
  const { lastSequence } = sink.log?.usage ?? { lastSequence: 0 };
  sink.set({ received: lastSequence, synced: lastSequence });
  const write = watched(here.volume.write(PAGE, Buffer.alloc(PAGE, 1)));
  while (sink.appendedSequence <= lastSequence) await systemClock.sleep(2);
  const flush = watched(here.volume.flush());
  await systemClock.sleep(20);
  expect([write.state, flush.state]).toEqual(['waits', 'waits']);
  sink.set({ received: lastSequence + 1 });
  await settle();
  expect([write.state, flush.state]).toEqual(['done', 'waits']);
  sink.set({ synced: lastSequence + 1, hasLease: false });
  const read = watched(here.volume.read(PAGE, Buffer.alloc(PAGE)));
  await systemClock.sleep(20);
  expect([flush.state, read.state]).toEqual(['waits', 'waits']);
  sink.set({ hasLease: true });
  await settle();
  expect([flush.state, read.state]).toEqual(['done', 'done']);
  const late = watched(here.volume.write(PAGE, Buffer.alloc(PAGE, 2)));
  here.volume.fence(sink.fence());
  await settle();
  expect(late.state).toBe('fenced');
});

it('C26: lets its members go before the first write that is not logged; where that fails, writes wait', async () => {
  const sink = new HeldSink();
  sink.all();
  const here = await start(sink);
  await here.settled();
  sink.calls.splice(0);
  here.store.isOut = true;
  sink.suspendFails = new SgwError('unavailable', 'store-out', 'the set can not be changed');
  const write = await fill(here);
  expect(sink.calls).toContain('suspend');
  expect(here.volume.stats.shadow?.phase).not.toBe('pass-through');
  expect(write.state).toBe('waits');
  sink.suspendFails = undefined;
  for (let turn = 0; turn < 2000 && write.state === 'waits'; turn++) await systemClock.sleep(2);
  expect(write.state).toBe('done');
  expect(here.volume.stats.shadow?.phase).toBe('pass-through');
  expect(sink.isSuspended).toBe(true);
  await here.settled();
  while (sink.isSuspended) await systemClock.sleep(2);
  await here.check();
});

it('C26: what was written in pass-through keeps members away after a crash, until the store has it', async () => {
  const sink = new HeldSink();
  sink.all();
  const here = await start(sink);
  await here.settled();
  here.store.isOut = true;
  await fill(here);
  for (let i = 0; i < 5; i++) await here.volume.write(i * PAGE, Buffer.alloc(PAGE, 9));
  await here.die('kill');
  sink.calls.splice(0);
  await here.open();
  expect(sink.calls).toEqual(['begin', 'suspend']);
  await here.settled();
  while (sink.isSuspended) await systemClock.sleep(2);
  await here.check();
});

it('C26: does not serve an image of a group without the store: another member may', async () => {
  const sink = new HeldSink();
  sink.all();
  const here = await start(sink);
  await here.settled();
  await here.closeInOrder();
  here.store.isOut = true;
  await expect(here.open()).rejects.toMatchObject({ kind: 'unavailable' });
});
