/** `<home>/witness`: what a home remembers of its store, kept by several processes, and no loss when it is gone. */
import { appendFileSync, readFileSync, statSync, writeFileSync } from 'node:fs';
import { chmod, mkdtemp, readdir, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { accepting, HomeWitness } from '../../../src/core/gateway/witness.ts';

const STORE = 'store-0123456789abcdef';
const head = (number: number): string => `volumes/vol-${String(number).padStart(17, '0')}/head.json`;

let home: string;
let path: string;
beforeEach(async () => {
  home = await mkdtemp(join(tmpdir(), 'sgw-witness-'));
  path = join(home, 'witness');
});
afterEach(async () => {
  await rm(home, { recursive: true, force: true });
});

const reopened = (storeId = STORE): HomeWitness => new HomeWitness(home, storeId);

describe('a witness', () => {
  it('remembers the newest version, over processes, once it was flushed', () => {
    const witness = reopened();
    witness.saw(head(1), 3);
    witness.saw(head(1), 2);
    expect(witness.newest(head(1))).toBe(3);
    expect(reopened().newest(head(1))).toBeUndefined();
    witness.flush();
    expect(reopened().newest(head(1))).toBe(3);
    expect(reopened().newest(head(2))).toBeUndefined();
    expect(statSync(path).mode & 0o777).toBe(0o600);
  });

  it('writes nothing when nothing new was seen', () => {
    const witness = reopened();
    witness.saw(head(1), 3);
    witness.flush();
    const before = readFileSync(path, 'latin1');
    const again = reopened();
    again.saw(head(1), 3);
    again.forget(head(2));
    again.flush();
    expect(readFileSync(path, 'latin1')).toBe(before);
  });

  it('forgets what it is told to, and takes an older version only where it is accepted', () => {
    const witness = reopened();
    for (const number of [1, 2, 3]) witness.saw(head(number), 7);
    witness.forget(head(1));
    witness.accept(head(2), 4);
    accepting(witness).saw(head(3), 5);
    expect(accepting(witness).newest(head(3))).toBeUndefined();
    witness.flush();
    expect([...reopened().known()].sort()).toEqual([head(2), head(3)]);
    expect([reopened().newest(head(2)), reopened().newest(head(3))]).toEqual([4, 5]);
  });

  it('an older version that was accepted stays so when a newer one is seen before that is written', () => {
    const witness = reopened();
    for (const number of [1, 2]) witness.saw(head(number), 7);
    witness.flush();
    const later = reopened();
    later.accept(head(1), 3);
    later.forget(head(2));
    for (const number of [1, 2]) later.saw(head(number), 4);
    later.flush();
    expect([reopened().newest(head(1)), reopened().newest(head(2))]).toEqual([4, 4]);
  });

  it('knows the documents of its own store only', () => {
    const witness = reopened();
    witness.saw(head(1), 3);
    witness.flush();
    expect([...reopened('store-ffff').known()]).toEqual([]);
  });

  it('two that append at once lose nothing, and the newer version counts whatever the order', () => {
    const [one, two] = [reopened(), reopened()];
    one.saw(head(1), 9);
    two.saw(head(1), 4);
    two.saw(head(2), 1);
    one.flush();
    two.flush();
    expect([reopened().newest(head(1)), reopened().newest(head(2))]).toEqual([9, 1]);
  });

  it('leaves out lines that are torn, mixed or changed, and no other', () => {
    const witness = reopened();
    for (const number of [1, 2, 3]) witness.saw(head(number), 12);
    witness.flush();
    const text = readFileSync(path, 'latin1');
    for (let length = 0; length <= text.length; length++) {
      writeFileSync(path, text.slice(0, length));
      appendFileSync(path, '\n');
      const later = reopened();
      later.saw(head(4), 1);
      later.flush();
      const lines = text
        .slice(0, length + 1)
        .split('\n')
        .slice(0, -1);
      const whole = [1, 2, 3].filter((number) => lines.some((line) => line.includes(head(number))));
      expect([...reopened().known()].sort()).toEqual([...whole, 4].map(head).sort());
    }
    for (let at = 0; at < text.length; at++) {
      const bad = Buffer.from(text, 'latin1');
      bad[at] = (bad[at] ?? 0) ^ 1;
      writeFileSync(path, bad);
      for (const number of [1, 2, 3]) expect([12, undefined]).toContain(reopened().newest(head(number)));
    }
  });

  it('is written anew when it has grown, and stays bounded', async () => {
    const witness = reopened();
    for (let round = 1; round <= 40; round++) {
      for (let number = 0; number < 200; number++) witness.saw(head(number), round);
      witness.flush();
    }
    expect(readFileSync(path, 'latin1').split('\n').length).toBeLessThan(4096 + 800);
    expect([...reopened().known()]).toHaveLength(200);
    expect(reopened().newest(head(199))).toBe(40);
    expect(await readdir(home)).toEqual(['witness']);
  });

  it('of 10,000 documents is read in a moment', () => {
    const witness = reopened();
    for (let number = 0; number < 10_000; number++) witness.saw(head(number), 3);
    witness.flush();
    const before = process.cpuUsage();
    expect(reopened().newest(head(9999))).toBe(3);
    // It takes some ten milliseconds; how long it waits for a CPU does not count.
    expect(process.cpuUsage(before).user / 1000).toBeLessThan(1000);
  });

  it('that can not be read or written is no error', async () => {
    await chmod(home, 0o500);
    const witness = reopened();
    witness.saw(head(1), 3);
    expect(() => {
      witness.flush();
    }).not.toThrow();
    await chmod(home, 0o700);
    const elsewhere = new HomeWitness(join(home, 'missing'), STORE);
    elsewhere.saw(head(1), 1);
    elsewhere.flush();
    expect(elsewhere.newest(head(1))).toBe(1);
  });
});
