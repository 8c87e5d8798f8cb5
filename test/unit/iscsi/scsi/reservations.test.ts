import { describe, expect, it } from 'vitest';
import {
  BLOCK,
  Initiator,
  check,
  CONFLICT,
  GOOD,
  hex,
  INVALID_FIELD,
  newBench,
  type Answer,
  type Bench,
} from './initiator.ts';

const BAD_PARAMETER = check('5/2600');
const BAD_LENGTH = check('5/1a00');
const UA = { preempted: '6/2a03', released: '6/2a04', registrations: '6/2a05', cleared: '6/2f00' } as const;

const WE = 1;
const EA = 3;
const WERO = 5;
const EARO = 6;
const WEAR = 7;
const EAAR = 8;
const TYPES = [WE, EA, WERO, EARO, WEAR, EAAR];

const ACTION = {
  register: 0,
  reserve: 1,
  release: 2,
  clear: 3,
  preempt: 4,
  preemptAndAbort: 5,
  ignore: 6,
  move: 7,
} as const;

interface OutOptions {
  readonly key?: number;
  readonly newKey?: number;
  readonly type?: number;
  readonly scope?: number;
  readonly flags?: number;
  readonly more?: Buffer;
}

/** PERSISTENT RESERVE OUT */
function out(host: Initiator, action: keyof typeof ACTION, options: OutOptions = {}): Promise<Answer> {
  const { key = 0, newKey = 0, type = 0, scope = 0, flags = 0, more = Buffer.alloc(0) } = options;
  const list = Buffer.alloc(24);
  list.writeBigUInt64BE(BigInt(key), 0);
  list.writeBigUInt64BE(BigInt(newKey), 8);
  list[20] = flags;
  const dataOut = Buffer.concat([list, more]);
  const length = dataOut.length.toString(16).padStart(8, '0');
  return host.send(`5f 0${String(ACTION[action])} ${scope.toString(16)}${String(type)} 0000 ${length} 00`, { dataOut });
}

const readIn = (host: Initiator, action: number, length = 'ffff'): Promise<Buffer> =>
  host.good(`5e 0${String(action)} 0000000000 ${length} 00`);
const keysOf = async (host: Initiator): Promise<number[]> => {
  const bytes = await readIn(host, 0);
  expect(bytes.readUInt32BE(4)).toBe(bytes.length - 8);
  return Array.from({ length: (bytes.length - 8) / 8 }, (_, i) => Number(bytes.readBigUInt64BE(8 + i * 8)));
};
const generationOf = async (host: Initiator): Promise<number> => (await readIn(host, 0)).readUInt32BE(0);
/** Key and type of the reservation. */
const reservationOf = async (host: Initiator): Promise<string> => {
  const bytes = await readIn(host, 1);
  return bytes.length === 8 ? 'none' : `${String(bytes.readBigUInt64BE(8))}/${String(bytes[21])}`;
};

interface Hosts extends Bench {
  readonly a: Initiator;
  readonly b: Initiator;
  readonly c: Initiator;
}

/** Three; a has registered key 1, and b key 2. */
async function registered(parts: Parameters<typeof newBench>[0] = {}): Promise<Hosts> {
  const bench = await newBench(parts);
  const [b, c] = [await bench.another(2).settle(), await bench.another(3).settle()];
  expect(await out(bench.host, 'register', { newKey: 1 })).toMatchObject(GOOD);
  expect(await out(b, 'register', { newKey: 2 })).toMatchObject(GOOD);
  return { ...bench, a: bench.host, b, c };
}

const attentions = async (host: Initiator): Promise<string[]> => {
  const told: string[] = [];
  for (;;) {
    const { sense } = await host.send('00');
    if (sense === '') return told;
    told.push(sense);
  }
};

describe('registrations', () => {
  it('are made, changed and ended, each counted once', async () => {
    const { host } = await newBench();
    expect(await out(host, 'register', { newKey: 7 })).toMatchObject(GOOD);
    expect(await keysOf(host)).toEqual([7]);
    expect(await out(host, 'register', { key: 8, newKey: 9 }), 'a wrong key').toMatchObject(CONFLICT);
    expect(await out(host, 'register', { key: 7, newKey: 9 })).toMatchObject(GOOD);
    expect(await keysOf(host)).toEqual([9]);
    expect(await out(host, 'ignore', { newKey: 10 })).toMatchObject(GOOD);
    expect(await keysOf(host)).toEqual([10]);
    expect(await out(host, 'ignore')).toMatchObject(GOOD);
    expect(await keysOf(host)).toEqual([]);
    expect(await generationOf(host)).toBe(4);
    expect(await out(host, 'register')).toMatchObject(GOOD);
    expect(await out(host, 'ignore')).toMatchObject(GOOD);
    expect(await generationOf(host), 'nothing was done').toBe(4);
    expect(await out(host, 'register', { key: 1, newKey: 2 }), 'a key, and not registered').toMatchObject(CONFLICT);
  });

  it('outlive a session', async () => {
    const { host, unit } = await newBench();
    await out(host, 'register', { newKey: 7 });
    await out(host, 'reserve', { key: 7, type: EA });
    unit.leave(host.nexus);
    const again = await Initiator.of(unit, { ...host.nexus }).settle();
    expect(await keysOf(again)).toEqual([7]);
    expect(await reservationOf(again)).toBe('7/3');
    expect(await again.send('28 00 00000000 00 0001 00')).toMatchObject(GOOD);
  });

  it('do not survive the gateway, and say so', async () => {
    const { host } = await newBench();
    expect((await readIn(host, 2)).toString('hex')).toBe('00081c80ea010000');
    for (const action of ['register', 'ignore'] as const) {
      const answer = await out(host, action, { newKey: 7, flags: 1 });
      expect(answer, action).toMatchObject(BAD_PARAMETER);
      // Byte 20, bit 0
      expect(answer.senseBytes.subarray(15).toString('hex'), action).toBe('880014');
      expect(await keysOf(host), action).toEqual([]);
    }
  });

  it('are made for ports that are named, and for every target port', async () => {
    const { host, another } = await newBench();
    const [b, c] = [await another(2).settle(), await another(3).settle()];
    const port = Buffer.from(`${b.nexus.initiatorPort}\0`);
    const device = Buffer.from('iqn.2020-01.com.example:HOST3\0');
    const id = (format: number, name: Buffer): Buffer => {
      const body = Buffer.alloc(Math.max(20, Math.ceil(name.length / 4) * 4));
      name.copy(body);
      return Buffer.concat([Buffer.from([format, 0, 0, body.length]), body]);
    };
    const list = (ids: Buffer): Buffer => {
      const length = Buffer.alloc(4);
      length.writeUInt32BE(ids.length);
      return Buffer.concat([length, ids]);
    };
    const ids = Buffer.concat([id(0x45, port), id(0x05, device)]);
    const bad: readonly [Buffer, Partial<Answer>][] = [
      [Buffer.alloc(0), BAD_LENGTH],
      [list(ids).subarray(0, -1), BAD_LENGTH],
      [list(ids.subarray(0, -4)), BAD_LENGTH],
      [list(id(0x46, port)), BAD_PARAMETER],
      [list(id(0x85, port)), BAD_PARAMETER],
      [list(id(0x05, port)), BAD_PARAMETER],
      [list(id(0x45, device)), BAD_PARAMETER],
      [list(id(0x45, Buffer.alloc(24, 0x61))), BAD_PARAMETER],
    ];
    for (const [more, answer] of bad)
      expect(await out(host, 'register', { newKey: 5, flags: 0x0c, more }), more.toString('hex')).toMatchObject(answer);
    expect(await keysOf(host)).toEqual([]);
    expect(await out(host, 'ignore', { newKey: 5, flags: 0x08, more: list(ids) })).toMatchObject(BAD_LENGTH);
    expect(await out(host, 'ignore', { newKey: 5, flags: 0x08 })).toMatchObject(BAD_PARAMETER);
    expect(await out(host, 'register', { newKey: 5, flags: 0x0c, more: list(ids) })).toMatchObject(GOOD);
    expect(await keysOf(c)).toEqual([5, 5, 5]);
    expect(await generationOf(c)).toBe(1);
    expect(await out(c, 'reserve', { key: 5, type: WE })).toMatchObject(GOOD);
    expect(await out(c, 'register', { key: 5, newKey: 6, flags: 0x08, more: list(ids) })).toMatchObject(INVALID_FIELD);
    const status = await readIn(host, 3);
    expect(status.subarray(8, 32).toString('hex'), 'ALL_TG_PT, and not the holder').toBe(
      hex('0000000000000005 00000000 02 00 00000000 0000 00000034').toString('hex'),
    );
  });

  it('are bounded', async () => {
    const { host, unit } = await newBench();
    for (let i = 0; i < 1024; i++) {
      const nexus = { ...host.nexus, initiatorPort: `iqn.x:${String(i)},i,0x000000000001` };
      const one = await Initiator.of(unit, nexus).settle();
      expect(await out(one, 'register', { newKey: 1 })).toMatchObject(GOOD);
      unit.leave(nexus);
    }
    expect(await out(host, 'register', { newKey: 1 })).toMatchObject(check('5/5504'));
  });

  it('are told in full', async () => {
    const { a, b } = await registered();
    await out(b, 'reserve', { key: 2, type: WERO });
    const name = (text: string): string => Buffer.from(text).toString('hex');
    const idOf = (host: string): string => `45000030 ${name(`iqn.2020-01.com.example:${host},i,0x800000000001`)} 0000`;
    expect((await readIn(a, 3)).toString('hex')).toBe(
      hex(`00000002 00000098
        0000000000000001 00000000 00 00 00000000 0001 00000034 ${idOf('host1')}
        0000000000000002 00000000 01 05 00000000 0001 00000034 ${idOf('host2')}`).toString('hex'),
    );
    expect((await readIn(a, 0, '0008')).toString('hex'), 'cut, with the whole length').toBe('0000000200000010');
  });
});

describe('reservations', () => {
  it.each(TYPES)('of type %d are made, seen and released', async (type) => {
    const { a, b } = await registered();
    expect(await out(a, 'reserve', { key: 1, type })).toMatchObject(GOOD);
    expect(await reservationOf(b)).toBe(`${type >= WEAR ? '0' : '1'}/${String(type)}`);
    expect(await out(a, 'reserve', { key: 1, type }), 'once more').toMatchObject(GOOD);
    const other = type === WE ? EA : WE;
    expect(await out(a, 'reserve', { key: 1, type: other }), 'another type').toMatchObject(CONFLICT);
    expect(await out(b, 'reserve', { key: 2, type })).toMatchObject(type >= WEAR ? GOOD : CONFLICT);
    expect(await out(a, 'release', { key: 1, type: other })).toMatchObject(check('5/2604'));
    expect(await out(b, 'release', { key: 1, type }), 'a wrong key').toMatchObject(CONFLICT);
    if (type < WEAR) {
      expect(await out(b, 'release', { key: 2, type }), 'not its own').toMatchObject(GOOD);
      expect(await reservationOf(b)).toBe(`1/${String(type)}`);
    }
    expect(await generationOf(a), 'only registrations count').toBe(2);
    expect(await out(a, 'release', { key: 1, type })).toMatchObject(GOOD);
    expect(await reservationOf(a)).toBe('none');
    expect(await out(a, 'release', { key: 1, type }), 'nothing to release').toMatchObject(GOOD);
    expect(await attentions(b)).toEqual(type >= WERO ? [UA.released] : []);
    expect(await attentions(a)).toEqual([]);
  });

  it('have a known type and the scope of the unit, by those who are registered', async () => {
    const { a, c } = await registered();
    for (const type of [0, 2, 4, 9]) expect(await out(a, 'reserve', { key: 1, type })).toMatchObject(INVALID_FIELD);
    expect(await out(a, 'reserve', { key: 1, type: WE, scope: 2 })).toMatchObject(INVALID_FIELD);
    for (const action of ['reserve', 'release', 'clear', 'preempt', 'preemptAndAbort', 'move'] as const) {
      expect(await out(c, action, { type: WE, newKey: 1 }), action).toMatchObject(CONFLICT);
      expect(await out(a, action, { key: 9, type: WE, newKey: 1 }), action).toMatchObject(CONFLICT);
    }
    expect(await reservationOf(a)).toBe('none');
  });

  it.each(TYPES)('of type %d end with their holder', async (type) => {
    const { a, b } = await registered();
    await out(a, 'reserve', { key: 1, type });
    expect(await out(a, 'register', { key: 1 })).toMatchObject(GOOD);
    expect(await reservationOf(a)).toBe(type >= WEAR ? `0/${String(type)}` : 'none');
    expect(await attentions(b)).toEqual(type === WERO || type === EARO ? [UA.released] : []);
    expect(await out(b, 'register', { key: 2 })).toMatchObject(GOOD);
    expect(await reservationOf(b)).toBe('none');
  });

  it('are held on to when the key of the holder changes', async () => {
    const { a, b } = await registered();
    await out(a, 'reserve', { key: 1, type: WE });
    await out(a, 'register', { key: 1, newKey: 11 });
    expect(await reservationOf(b)).toBe('11/1');
    expect(await out(a, 'release', { key: 11, type: WE })).toMatchObject(GOOD);
  });

  it('are cleared with all registrations', async () => {
    const { a, b, c } = await registered();
    await out(b, 'reserve', { key: 2, type: EA });
    expect(await out(a, 'clear', { key: 1 })).toMatchObject(GOOD);
    expect([await keysOf(a), await reservationOf(a), await generationOf(a)]).toEqual([[], 'none', 3]);
    expect([await attentions(a), await attentions(b), await attentions(c)]).toEqual([[], [UA.preempted], []]);
  });

  it('take a list of 24 bytes', async () => {
    const { a } = await registered();
    for (const action of ['reserve', 'release', 'clear', 'preempt', 'ignore'] as const)
      expect(await out(a, action, { key: 1, type: WE, more: Buffer.alloc(4) }), action).toMatchObject(BAD_LENGTH);
    expect(await a.send('5f 00 00 0000 00000017 00', { dataOut: Buffer.alloc(23) })).toMatchObject(BAD_LENGTH);
    expect(await a.send('5f 00 00 0000 00000018 00', { dataOut: Buffer.alloc(23) })).toMatchObject(BAD_LENGTH);
    expect(await a.send('5f 00 00 0000 ffffffff 00', { dataOut: Buffer.alloc(64) })).toMatchObject(BAD_LENGTH);
    expect(await keysOf(a)).toEqual([1, 2]);
  });
});

describe('PREEMPT', () => {
  it('takes a reservation over, and ends the registrations with that key', async () => {
    const { a, b, c } = await registered();
    await out(c, 'register', { newKey: 1 });
    await out(a, 'reserve', { key: 1, type: WERO });
    expect(await out(b, 'preempt', { key: 2, newKey: 1, type: WERO })).toMatchObject(GOOD);
    expect([await keysOf(b), await reservationOf(b), await generationOf(b)]).toEqual([[2], '2/5', 4]);
    expect([await attentions(a), await attentions(b), await attentions(c)]).toEqual([
      [UA.registrations],
      [],
      [UA.registrations],
    ]);
    expect(await a.send('2a 00 00000000 00 0001 00', { dataOut: Buffer.alloc(BLOCK) })).toMatchObject(CONFLICT);
  });

  it('tells those who stay registered of another type', async () => {
    const { a, b, c } = await registered();
    await out(c, 'register', { newKey: 3 });
    await out(a, 'reserve', { key: 1, type: WERO });
    expect(await out(b, 'preempt', { key: 2, newKey: 1, type: EARO })).toMatchObject(GOOD);
    expect(await reservationOf(b)).toBe('2/6');
    expect([await attentions(a), await attentions(c)]).toEqual([[UA.registrations], [UA.released]]);
  });

  it('of an own reservation changes its type', async () => {
    const { a, b } = await registered();
    await out(a, 'reserve', { key: 1, type: WERO });
    expect(await out(a, 'preempt', { key: 1, newKey: 1, type: EA })).toMatchObject(GOOD);
    expect([await keysOf(a), await reservationOf(a)]).toEqual([[1, 2], '1/3']);
    expect([await attentions(a), await attentions(b)]).toEqual([[], [UA.released]]);
  });

  it('ends registrations of those who do not hold the reservation', async () => {
    const { a, b } = await registered();
    await out(a, 'reserve', { key: 1, type: WERO });
    expect(await out(a, 'preempt', { key: 1, newKey: 2, type: EA })).toMatchObject(GOOD);
    expect([await keysOf(a), await reservationOf(a)]).toEqual([[1], '1/5']);
    expect(await attentions(b)).toEqual([UA.registrations]);
    expect(await out(a, 'preempt', { key: 1, newKey: 2, type: EA }), 'nobody has it').toMatchObject(CONFLICT);
    expect(await out(a, 'preempt', { key: 1, newKey: 0, type: EA })).toMatchObject(BAD_PARAMETER);
    expect(await generationOf(a)).toBe(3);
  });

  it('of all registrants, with no key, leaves only itself', async () => {
    const { a, b, c } = await registered();
    await out(c, 'register', { newKey: 3 });
    await out(a, 'reserve', { key: 1, type: WEAR });
    expect(await out(b, 'preempt', { key: 2, newKey: 3, type: WE })).toMatchObject(GOOD);
    expect([await keysOf(b), await reservationOf(b)]).toEqual([[1, 2], '0/7']);
    expect(await out(b, 'preempt', { key: 2, newKey: 0, type: WE, scope: 1 })).toMatchObject(INVALID_FIELD);
    expect(await out(b, 'preempt', { key: 2, newKey: 0, type: WE })).toMatchObject(GOOD);
    expect([await keysOf(b), await reservationOf(b)]).toEqual([[2], '2/1']);
    expect([await attentions(a), await attentions(b), await attentions(c)]).toEqual([
      [UA.registrations],
      [],
      [UA.registrations],
    ]);
  });

  it('AND ABORT ends when no task of those who lost runs any more', async () => {
    const stopped: string[] = [];
    let end = (): void => undefined;
    const ended = new Promise<void>((resolve) => {
      end = resolve;
    });
    const abortTasks: NonNullable<Parameters<typeof newBench>[0]>['abortTasks'] = ({ initiatorPort }) => {
      stopped.push(initiatorPort);
      return ended;
    };
    const { a, b, c } = await registered({ abortTasks });
    await out(c, 'register', { newKey: 3 });
    await out(b, 'reserve', { key: 2, type: EA });
    const answer = out(a, 'preemptAndAbort', { key: 1, newKey: 2, type: EA });
    let isDone = false;
    void answer.then(() => {
      isDone = true;
    });
    await new Promise((resolve) => setImmediate(resolve));
    expect([stopped, isDone]).toEqual([[b.nexus.initiatorPort], false]);
    end();
    expect(await answer).toMatchObject(GOOD);
    expect([await reservationOf(a), await keysOf(a)]).toEqual(['1/3', [1, 3]]);
    expect(await attentions(b)).toEqual([UA.registrations, UA.cleared]);
    expect(await attentions(c)).toEqual([]);
  });

  it('AND ABORT tells when that failed', async () => {
    const { a } = await registered({ abortTasks: () => Promise.reject(new Error('on purpose')) });
    expect(await out(a, 'preemptAndAbort', { key: 1, newKey: 2, type: EA })).toMatchObject(check('4/4400'));
  });
});

describe('REGISTER AND MOVE', () => {
  const move = (
    port: number,
    name: string,
    flags = 0,
    format = 0x45,
  ): { list: (key: number, newKey: number) => Buffer } => ({
    list: (key, newKey) => {
      const body = Buffer.alloc(Math.max(20, Math.ceil((name.length + 1) / 4) * 4));
      body.write(name);
      const head = Buffer.alloc(24);
      head.writeBigUInt64BE(BigInt(key), 0);
      head.writeBigUInt64BE(BigInt(newKey), 8);
      head[17] = flags;
      head.writeUInt16BE(port, 18);
      head.writeUInt32BE(body.length + 4, 20);
      return Buffer.concat([head, Buffer.from([format, 0, 0, body.length]), body]);
    },
  });
  const send = (host: Initiator, dataOut: Buffer): Promise<Answer> =>
    host.send(`5f 07 00 0000 000000${dataOut.length.toString(16)} 00`, { dataOut });

  it('gives a reservation to another port', async () => {
    const { a, b, c } = await registered();
    await out(a, 'reserve', { key: 1, type: EA });
    const { initiatorPort } = c.nexus;
    expect(await send(b, move(1, initiatorPort).list(2, 9)), 'not its own').toMatchObject(CONFLICT);
    expect(await send(a, move(1, initiatorPort).list(1, 0))).toMatchObject(BAD_PARAMETER);
    expect(await send(a, move(2, initiatorPort).list(1, 9)), 'no such port').toMatchObject(BAD_PARAMETER);
    expect(await send(a, move(1, a.nexus.initiatorPort).list(1, 9)), 'itself').toMatchObject(BAD_PARAMETER);
    expect(await send(a, move(1, 'iqn.x:y', 0, 0x05).list(1, 9)), 'no port').toMatchObject(BAD_PARAMETER);
    expect(await send(a, move(1, initiatorPort, 1).list(1, 9)), 'APTPL').toMatchObject(BAD_PARAMETER);
    const longer = move(1, initiatorPort).list(1, 9);
    longer[23] = 0x10;
    expect(await send(a, longer)).toMatchObject(BAD_PARAMETER);
    expect([await reservationOf(a), await generationOf(a)]).toEqual(['1/3', 2]);
    expect(await send(a, move(1, initiatorPort).list(1, 9))).toMatchObject(GOOD);
    expect([await keysOf(a), await reservationOf(a), await generationOf(a)]).toEqual([[1, 2, 9], '9/3', 3]);
    expect(await send(c, move(1, b.nexus.initiatorPort, 2).list(9, 8)), 'and unregisters').toMatchObject(GOOD);
    expect([await keysOf(a), await reservationOf(a)]).toEqual([[1, 8], '8/3']);
  });

  it('moves nothing of all registrants', async () => {
    const { a, c } = await registered();
    await out(a, 'reserve', { key: 1, type: EAAR });
    expect(await send(a, move(1, c.nexus.initiatorPort).list(1, 9))).toMatchObject(CONFLICT);
  });
});

/**
 * What may be done by somebody who neither holds the reservation nor is registered where that is enough: when writing is exclusive,
 * when access is (SPC-4, table 67; SBC-3, table 13), and under another's RESERVE(6).
 */
const ACCESS: readonly [string, string, boolean, boolean, boolean][] = [
  ['TEST UNIT READY', '00', true, true, false],
  ['INQUIRY', '12 00 00 00ff 00', true, true, true],
  ['REQUEST SENSE', '03 00 0000 ff 00', true, true, true],
  ['REPORT LUNS', 'a0 00 00 000000 00000010', true, true, true],
  ['READ CAPACITY(10)', '25', true, true, false],
  ['READ CAPACITY(16)', '9e 10 0000000000000000 00000020', true, true, false],
  ['REPORT TARGET PORT GROUPS', 'a3 0a 00000000 00000020', true, true, false],
  ['REPORT SUPPORTED OPERATION CODES', 'a3 0c 00 00 0000 00000020', true, false, false],
  ['REPORT SUPPORTED TASK MANAGEMENT FUNCTIONS', 'a3 0d 00000000 00000020', true, false, false],
  ['MODE SENSE(6)', '1a 00 3f 00 ff 00', true, false, false],
  ['MODE SENSE(10)', '5a 00 3f 00 000000 00ff 00', true, false, false],
  ['READ(6)', '08 000000 01 00', true, false, false],
  ['READ(10)', '28 00 00000000 00 0001 00', true, false, false],
  ['READ(12)', 'a8 00 00000000 00000001', true, false, false],
  ['READ(16)', '88 00 0000000000000000 00000001', true, false, false],
  ['VERIFY(10)', '2f 00 00000000 00 0001 00', true, false, false],
  ['VERIFY(12)', 'af 00 00000000 00000001', true, false, false],
  ['VERIFY(16)', '8f 00 0000000000000000 00000001', true, false, false],
  ['PRE-FETCH(10)', '34 00 00000000 00 0001 00', true, false, false],
  ['PRE-FETCH(16)', '90 00 0000000000000000 00000001', true, false, false],
  ['GET LBA STATUS', '9e 12 0000000000000000 00000020', true, false, false],
  ['READ DEFECT DATA(10)', '37 00 00 00000000 0020 00', true, false, false],
  ['READ DEFECT DATA(12)', 'b7 00 00000000 00000020', true, false, false],
  ['MODE SELECT(6)', '15 10 0000 00 00', false, false, false],
  ['MODE SELECT(10)', '55 10 00 00 000000 0000 00', false, false, false],
  ['SYNCHRONIZE CACHE(10)', '35', false, false, false],
  ['SYNCHRONIZE CACHE(16)', '91', false, false, false],
  ['WRITE(6)', '0a 000000 01 00', false, false, false],
  ['WRITE(10)', '2a 00 00000000 00 0000 00', false, false, false],
  ['WRITE(12)', 'aa 00 00000000 00000000', false, false, false],
  ['WRITE(16)', '8a 00 0000000000000000 00000000', false, false, false],
  ['WRITE ATOMIC(16)', '9c', false, false, false],
  ['WRITE AND VERIFY(10)', '2e 00 00000000 00 0000 00', false, false, false],
  ['WRITE AND VERIFY(12)', 'ae 00 00000000 00000000', false, false, false],
  ['WRITE AND VERIFY(16)', '8e 00 0000000000000000 00000000', false, false, false],
  ['COMPARE AND WRITE', '89 00 0000000000000000 000000 00', false, false, false],
  ['ORWRITE(16)', '8b 00 0000000000000000 00000000', false, false, false],
  ['WRITE SAME(16)', '93 01 0000000000000000 00000001', false, false, false],
  ['UNMAP', '42', false, false, false],
  ['EXTENDED COPY', '83', false, false, false],
  ['RECEIVE COPY OPERATING PARAMETERS', '84 03', false, false, false],
  ['START STOP UNIT, start', '1b 00 00 00 01 00', true, true, false],
  ['START STOP UNIT, stop', '1b 00 00 00 00 00', false, false, false],
  ['PREVENT ALLOW MEDIUM REMOVAL, allow', '1e 000000 00 00', true, true, true],
  ['PREVENT ALLOW MEDIUM REMOVAL, prevent', '1e 000000 01 00', false, false, false],
  ['PERSISTENT RESERVE IN', '5e 00 0000000000 0020 00', true, true, false],
];

const allowed = async (host: Initiator): Promise<string[]> => {
  const names: string[] = [];
  for (const [name, cdb] of ACCESS) {
    const answer = await host.send(cdb, { dataOut: name === 'WRITE(6)' ? Buffer.alloc(BLOCK) : Buffer.alloc(0) });
    if (answer.status === GOOD.status) names.push(name);
    else expect(answer, name).toMatchObject(CONFLICT);
  }
  return names;
};
const namesWhere = (column: 2 | 3 | 4): string[] => ACCESS.filter((row) => row[column]).map(([name]) => name);
const ALL = ACCESS.map(([name]) => name);

describe('access', () => {
  it.each(TYPES)('with a reservation of type %d', async (type) => {
    const { a, b, c } = await registered();
    await out(a, 'reserve', { key: 1, type });
    const others = namesWhere(type === WE || type === WERO || type === WEAR ? 2 : 3);
    expect(await allowed(a), 'who holds it').toEqual(ALL);
    expect(await allowed(b), 'who is registered').toEqual(type >= WERO ? ALL : others);
    expect(await allowed(c), 'who is not').toEqual(others);
    await out(a, 'release', { key: 1, type });
    await b.settle();
    expect(await allowed(c)).toEqual(ALL);
  });

  it('with RESERVE(6), until it is released, the nexus is lost, or the unit is reset', async () => {
    const { host, another, unit } = await newBench();
    const other = await another(2).settle();
    for (const end of [
      () => host.good('17'),
      () => {
        unit.reset();
        return other.settle();
      },
      () => {
        unit.leave(host.nexus);
        unit.join(host.nexus);
        return host.settle();
      },
    ]) {
      await host.settle();
      await host.good('16');
      await host.good('16');
      expect(await other.send('16')).toMatchObject(CONFLICT);
      await other.good('17');
      expect(await allowed(other)).toEqual(namesWhere(4));
      expect(await allowed(host)).toEqual(ALL.filter((name) => name !== 'PERSISTENT RESERVE IN'));
      expect(await out(host, 'register', { newKey: 1 })).toMatchObject(CONFLICT);
      await end();
      await other.good('16');
      await other.good('17');
    }
  });

  it('with RESERVE(6) while somebody is registered: only for those who have access anyway', async () => {
    const { a, b, c } = await registered();
    for (const host of [a, b, c]) for (const cdb of ['16', '17']) expect(await host.send(cdb)).toMatchObject(CONFLICT);
    await out(a, 'reserve', { key: 1, type: WERO });
    for (const [host, answer] of [
      [a, GOOD],
      [b, GOOD],
      [c, CONFLICT],
    ] as const)
      for (const cdb of ['16', '17']) expect(await host.send(cdb)).toMatchObject(answer);
    expect(await reservationOf(c)).toBe('1/5');
    expect(await b.send('2a 00 00000000 00 0000 00'), 'nothing was reserved').toMatchObject(GOOD);
    await out(a, 'preempt', { key: 1, newKey: 1, type: WE });
    await b.settle();
    expect(await a.send('16')).toMatchObject(GOOD);
    expect(await b.send('16')).toMatchObject(CONFLICT);
  });

  it('is judged before unit attentions that are not about a reset, and after those that are', async () => {
    const { a, b, c, unit } = await registered();
    await out(a, 'reserve', { key: 1, type: EA });
    unit.commandsCleared(c.nexus);
    expect(await c.send('28 00 00000000 00 0001 00')).toMatchObject(CONFLICT);
    expect(await c.send('00')).toMatchObject(check(UA.cleared));
    unit.reset();
    expect(await b.send('28 00 00000000 00 0001 00')).toMatchObject(check('6/2903'));
    expect(await b.send('28 00 00000000 00 0001 00')).toMatchObject(CONFLICT);
    expect(await keysOf(c.unit === unit ? await c.settle() : c), 'a reset ends no registration').toEqual([1, 2]);
  });
});
