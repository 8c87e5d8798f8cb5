/** Tables and lists of fields: what is painted, what is made harmless, and what is cut. */
import { PassThrough } from 'node:stream';
import { expect, it } from 'vitest';
import { quoted } from '../../../src/core/kit/index.ts';
import { exportFields, snapshotTable } from '../../../src/core/cli/snapshot-views.ts';
import { styleFor } from '../../../src/core/cli/style.ts';
import { renderFields } from '../../../src/core/cli/tables.ts';
import { verifyFields } from '../../../src/core/cli/volume-views.ts';

const colored = styleFor(Object.assign(new PassThrough(), { isTTY: true }), true);
const plain = styleFor(new PassThrough(), true);

it('values are painted on a terminal, and the text of others can not paint', () => {
  expect(renderFields([['result', 'ok', colored.green]], colored)).toContain('\u001b[32mok\u001b[39m');
  expect(renderFields([['name', '\u001b[31mred\u202e']], plain)).toBe('name:  \uFFFD[31mred\uFFFD');
  const verified = { id: 'vol-0', name: 'a', ok: true, checkedBytes: 0, checkedObjects: 0, durationMs: 1 };
  expect(verifyFields(verified, colored)).not.toContain('\uFFFD');
  const exported = { snapshotId: 'snap-0', name: 'a', path: '/a', format: 'raw', sizeBytes: 0, dataBytes: 0 };
  const text = exportFields({ ...exported, resumed: false, verified: true, remarks: [], durationMs: 1 }, colored);
  expect(text).toContain('\u001b[32myes\u001b[39m');
});

const snapshot = {
  snapshotId: `snap-${'0'.repeat(17)}`,
  name: 'a'.repeat(128),
  state: 'completed',
  volumeId: `vol-${'0'.repeat(17)}`,
  volumeName: 'b'.repeat(128),
  sizeBytes: 1.5 * 2 ** 30,
  mappedBytes: 0,
  seq: 1,
  accountId: '000000000001',
  createdAt: '2026-11-22T23:45:00.000Z',
  completedAt: null,
  description: '',
  tags: {},
  scheduleId: null,
  verified: null,
} as const;

it.each([40, 60, 80, 120])('a table with long names fits %d columns', async (columns) => {
  const table = await snapshotTable({ snapshots: [snapshot] }, plain, columns);
  const lines = table.trimEnd().split('\n');
  expect(Math.max(...lines.map((line) => line.length))).toBeLessThanOrEqual(columns);
  expect(table).toContain('1.5 GiB');
  expect(table).toContain('…');
});

it('a table that is piped is never cut', async () => {
  const table = await snapshotTable(
    { snapshots: [snapshot], remarks: ['one is damaged'] },
    plain,
    Number.POSITIVE_INFINITY,
  );
  expect(table).toContain(snapshot.name);
  expect(table).toContain(snapshot.volumeName);
  expect(table.split('\n').at(-1)).toBe('note: one is damaged');
});

it('an echoed value is quoted, cut and harmless', () => {
  expect(quoted('a b')).toBe('"a b"');
  expect(quoted('a\u001b[31m\u009b\u202e')).toBe('"a\\u001b[31m\\u009b\\u202e"');
  expect([...quoted('x'.repeat(500))]).toHaveLength(62);
});
