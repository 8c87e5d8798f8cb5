import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { SgwError } from '../../../src/core/kit/index.ts';
import {
  DEFAULT_PROVIDED_SERVING,
  readDownFrame,
  readUpFrame,
  sentError,
  type DownFrame,
  type UpFrame,
} from '../../../src/core/protocol/index.ts';

const ERROR = new SgwError('conflict', 'volume-held', 'it is held', {
  hint: 'wait',
  details: { by: 'x' },
}).toDocument();
const UP: UpFrame[] = [
  {
    kind: 'hello',
    ...{ versions: [1], gatewayId: 'sgw-00000001', software: '1.0.0', configurationVersion: 1, remoteManagement: true },
  },
  { kind: 'progress', id: 'a', progress: { label: 'importing', doneBytes: 1, totalBytes: 2 } },
  { kind: 'part', id: 'a', text: '{"x":' },
  { kind: 'result', id: 'a', result: { x: 1 } },
  { kind: 'result', id: 'a' },
  { kind: 'error', id: 'a', error: ERROR },
];
const DOWN: DownFrame[] = [
  { kind: 'welcome', version: 1, serverId: 'srv-1', epoch: 5, pingMs: 15_000, servers: ['https://127.0.0.1:1'] },
  { kind: 'refused', error: ERROR },
  { kind: 'call', id: 'a', operation: 'volume.list', input: {}, lockTimeoutMs: 1, deadlineMs: 1000 },
  { kind: 'cancel', id: 'a' },
  {
    ...{ kind: 'configuration', id: 'a' },
    configuration: {
      ...{ version: 2, name: 'x', mode: 'cached', region: 'local', answer: null },
      serving: DEFAULT_PROVIDED_SERVING,
    },
  },
  { kind: 'renew', id: 'a' },
  { kind: 'certificate', id: 'a', certificate: 'PEM', caCertificate: 'PEM', expiresAt: '2026-12-01T00:00:00Z' },
  { kind: 'fenced', id: 'a', volumeId: 'vol-1', byGatewayId: null, epoch: 3 },
];

describe('frames of the control plane', () => {
  it('come back as they were sent, with fields of a later version left alone', () => {
    for (const frame of UP) expect(readUpFrame(JSON.stringify({ ...frame, more: 1 }))).toEqual({ ...frame, more: 1 });
    for (const frame of DOWN) expect(readDownFrame(JSON.stringify(frame))).toEqual(frame);
  });

  it('of a kind that is not known are told apart by whether they want an answer', () => {
    expect(readDownFrame('{"kind":"dance","id":"a"}')).toEqual({ kind: 'unknown', id: 'a' });
    expect(readDownFrame('{"kind":"dance"}')).toEqual({ kind: 'unknown', id: undefined });
    expect(readDownFrame('{"kind":"toString"}')).toEqual({ kind: 'unknown', id: undefined });
    expect(readUpFrame('{"kind":"dance","id":"a"}')).toBeUndefined();
  });

  it('that lack a field, or have one of another type, are none', () => {
    for (const [read, frames] of [
      [readUpFrame, UP],
      [readDownFrame, DOWN],
    ] as const) {
      for (const frame of frames) {
        for (const name of Object.keys(frame)) {
          if (name === 'result') continue;
          for (const value of [undefined, [null]]) {
            const changed = JSON.stringify({ ...frame, [name]: value });
            expect(read(changed), changed).toBeUndefined();
          }
        }
      }
    }
  });

  it('are read from any text without a throw', () => {
    const texts = fc.oneof(
      fc.string(),
      fc.json(),
      fc.constantFrom(...UP, ...DOWN).chain((frame) => {
        const text = JSON.stringify(frame);
        return fc.nat(text.length).map((at) => text.slice(0, at));
      }),
      fc
        .record({ kind: fc.constantFrom('call', 'result', 'error', 'hello', 'welcome'), id: fc.anything() })
        .map((frame) => {
          try {
            return JSON.stringify(frame);
          } catch {
            return '';
          }
        }),
    );
    fc.assert(
      fc.property(texts, (text) => {
        readUpFrame(text);
        readDownFrame(text);
      }),
    );
  });

  it('bring failures as they were, and one of a kind that is not known as a bug of the other side', () => {
    expect(sentError(ERROR)).toMatchObject({ kind: 'conflict', code: 'volume-held', hint: 'wait' });
    expect(sentError({ ...ERROR, kind: 'toString' as 'conflict' })).toMatchObject({ kind: 'internal' });
  });
});
