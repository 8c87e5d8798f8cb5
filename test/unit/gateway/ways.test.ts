/** What is said of the ways that data goes: to the store, and to clients. */
import { expect, it } from 'vitest';
import { configuredListening, exportsOf } from '../../../src/core/gateway/serving/documents.ts';
import { wayRemarks } from '../../../src/core/gateway/store-place.ts';
import { newServingSettings, type AttachmentState } from '../../../src/core/state/index.ts';

it.each([
  ['/srv/store', false],
  ['s3://bucket/p', false],
  ['s3://bucket/p?endpoint=https://s3.lan:9000', false],
  ['s3://bucket/p?endpoint=http://127.0.0.1:9000', false],
  ['s3://bucket/p?endpoint=http://[::1]:9000', false],
  ['s3://bucket/p?endpoint=http://localhost:9000', false],
  ['s3://bucket/p?endpoint=http://s3.lan:9000&path-style=true', true],
  ['s3://bucket/p?endpoint=http://127.0.0.1.example.com', true],
])('%s goes in clear to another machine: %s', (place, isTold) => {
  expect(wayRemarks(place)).toHaveLength(isTold ? 1 : 0);
  if (isTold) expect(wayRemarks(place)[0]).toContain('not encrypted on its way (http://');
});

it.each([
  ['off', 'nbd+unix:///db', 'nbd://127.0.0.1:10809/db'],
  ['on', 'nbd+unix:///db', 'nbds://127.0.0.1:10809/db'],
  ['require', 'nbds+unix:///db', 'nbds://127.0.0.1:10809/db'],
] as const)('with TLS %s, URIs say what the server takes', (tls, unix, tcp) => {
  const serving = { ...newServingSettings(), tls, tcp: ['127.0.0.1:10809'] };
  const what = { exportName: 'db', snapshotId: null, recoveryPointSeq: null, protocols: ['nbd'], iscsi: null };
  const row = what as unknown as AttachmentState;
  const [found] = exportsOf('/home/x', { attachments: [row], serving }, undefined);
  expect(found?.uris).toEqual([`${unix}?socket=/home/x/nbd.sock`, tcp]);
  expect(configuredListening('/home/x', { serving }).tls).toBe(tls);
});
