/** A load of stamped writes, trims and flushes over one connection, which ends when that breaks. */
import { setTimeout as delay } from 'node:timers/promises';
import type { Random } from '../../../src/core/kit/index.ts';
import type { NbdClient } from './nbd-client.ts';
import { PAGE, stamped, type StampBook } from './stamps.ts';

const IN_FLIGHT = 24;
const PAGES_OF_A_WRITE_MAX = 24;

export interface StampedLoad {
  readonly random: Random;
  readonly book: StampBook;
  readonly counts: { writes: number; flushes: number };
}

/** Sends until the connection breaks. Returns how many writes. */
export async function sendStamped(client: NbdClient, { random, book, counts }: StampedLoad): Promise<number> {
  const integer = (below: number): number => Math.floor(random.float() * below);
  const busy = new Set<number>();
  const underWay = new Set<Promise<void>>();
  let sent = 0;
  const connection = { isBroken: false };
  while (!connection.isBroken) {
    if (underWay.size >= IN_FLIGHT) await Promise.race(underWay);
    if (random.float() < 0.02) {
      const number = book.lastNumber;
      const flushing = client.flush().then(
        () => {
          counts.flushes += 1;
          book.flushedNumber = Math.max(book.flushedNumber, number);
        },
        () => {
          connection.isBroken = true;
        },
      );
      underWay.add(flushing);
      void flushing.then(() => underWay.delete(flushing));
      continue;
    }
    const pages = random.float() < 0.8 ? 1 : 1 + integer(PAGES_OF_A_WRITE_MAX);
    const page = integer(book.pageCount - pages);
    const own = Array.from({ length: pages }, (_, i) => page + i);
    // What overlaps and is in flight at once may take effect in either order: that would say nothing.
    if (own.some((one) => busy.has(one))) {
      await delay(0);
      continue;
    }
    const isZero = random.float() < 0.1;
    const write = book.send(page, pages, isZero);
    for (const one of own) busy.add(one);
    const request = isZero
      ? client.trim(page * PAGE, pages * PAGE)
      : client.write(page * PAGE, stamped(page, pages, write.number), random.float() < 0.05);
    const done = request
      .then(
        () => {
          write.state = 'acknowledged';
          counts.writes += 1;
        },
        () => {
          write.state = 'failed';
          connection.isBroken = true;
        },
      )
      .then(() => {
        for (const one of own) busy.delete(one);
        underWay.delete(done);
      });
    underWay.add(done);
    sent += 1;
  }
  await Promise.all(underWay);
  return sent;
}
