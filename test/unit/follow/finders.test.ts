/** Where holders are looked for. */
import { describe, expect, it } from 'vitest';
import { groupHolders, nameOf, parsePlace, type GroupSight } from '../../../src/core/follow/index.ts';

const { signal } = new AbortController();
const SIGHT: GroupSight = {
  exportName: 'disk',
  holder: 'gw-b',
  own: ['unix:/run/own.sock', '10.0.0.1:10809'],
  members: [
    { gatewayId: 'gw-a', nbd: ['10.0.0.1:10809'] },
    { gatewayId: 'gw-b', nbd: ['10.0.0.2:10809', 'unix:/run/b.sock'] },
  ],
};

describe('places', () => {
  it.each([
    ['unix:/run/a b.sock', { kind: 'unix', path: '/run/a b.sock' }, 'unix:/run/a b.sock'],
    ['tcp:10.0.0.7:10809', { kind: 'tcp', host: '10.0.0.7', port: 10809 }, '10.0.0.7:10809'],
    ['storage.example:1', { kind: 'tcp', host: 'storage.example', port: 1 }, 'storage.example:1'],
    ['[fd00::7]:10809', { kind: 'tcp', host: 'fd00::7', port: 10809 }, '[fd00::7]:10809'],
  ] as const)('%s', (text, place, name) => {
    expect(parsePlace(text)).toEqual(place);
    expect(nameOf(parsePlace(text))).toBe(name);
  });

  it.each(['', 'unix:', '10.0.0.7', 'fd00::7:10809', 'host:70000', 'http://host:1', 'host:1/x', 'tcp:host'])(
    'refused: "%s"',
    (text) => {
      expect(() => parsePlace(text)).toThrow(expect.objectContaining({ code: 'bad-place', kind: 'invalid' }) as Error);
    },
  );
});

describe('a group', () => {
  it('names the holder first, then other members and the own gateway, each place once', async () => {
    const { addresses, exportName } = await groupHolders(async () => Promise.resolve(SIGHT)).find(signal);
    expect([exportName, addresses.map(nameOf)]).toEqual([
      'disk',
      ['10.0.0.2:10809', 'unix:/run/b.sock', '10.0.0.1:10809', 'unix:/run/own.sock'],
    ]);
  });

  it('is as it was known last while it can not be asked', async () => {
    let isThere = true;
    const finder = groupHolders(async () => (isThere ? Promise.resolve(SIGHT) : Promise.reject(new Error('gone'))));
    const first = await finder.find(signal);
    isThere = false;
    expect(await finder.find(signal)).toEqual(first);
    await expect(groupHolders(async () => Promise.reject(new Error('gone'))).find(signal)).rejects.toThrow('gone');
  });

  it('that does not answer is left to itself, and asked once at a time', async () => {
    let asked = 0;
    let answer = (_sight: GroupSight): void => undefined;
    const finder = groupHolders(async () => {
      asked += 1;
      return new Promise<GroupSight>((resolve) => {
        answer = resolve;
      });
    });
    for (let i = 0; i < 3; i++)
      await expect(finder.find(AbortSignal.timeout(10))).rejects.toMatchObject({ kind: 'aborted' });
    const finding = finder.find(signal);
    answer(SIGHT);
    expect((await finding).addresses).toHaveLength(4);
    expect(asked).toBe(1);
  });

  it('that tells no place is told of', async () => {
    const finder = groupHolders(async () => Promise.resolve({ ...SIGHT, own: [], members: [] }));
    await expect(finder.find(signal)).rejects.toMatchObject({ code: 'not-served', kind: 'unavailable' });
  });
});
