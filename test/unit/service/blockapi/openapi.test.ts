/** docs/openapi.json: current, whole, and what the service really answers. */
import { readFileSync } from 'node:fs';
import path from 'node:path';
import Value from 'typebox/value';
import { describe, expect, it } from 'vitest';
import { openApiText } from '../../../../scripts/openapi.ts';
import { BLOCK_API, Failure } from '../../../../src/core/protocol/blockapi/index.ts';
import { BlockRig, blockOf } from './block-rig.ts';

interface Operation {
  readonly operationId: string;
  readonly parameters?: readonly { readonly name: string; readonly in: string }[];
  readonly responses: Readonly<Record<string, object>>;
}

interface Description {
  readonly openapi: string;
  readonly paths: Readonly<Record<string, Readonly<Record<string, Operation>>>>;
  readonly components: { readonly schemas: Readonly<Record<string, object>> };
}

const file = path.join(import.meta.dirname, '../../../../docs/openapi.json');
const text = readFileSync(file, 'utf8');
const description = JSON.parse(text) as Description;

describe('docs/openapi.json', () => {
  it('is what scripts/openapi.ts writes', async () => {
    expect(text).toBe(await openApiText());
  });

  it('names every operation once, each parameter of its path, and only schemas that are there', () => {
    expect(description.openapi).toMatch(/^3\.1\./);
    const operations = Object.entries(description.paths).flatMap(([place, item]) =>
      Object.entries(item).map(([method, operation]) => ({ place, method, operation })),
    );
    expect(operations.map(({ operation }) => operation.operationId).sort()).toEqual(Object.keys(BLOCK_API).sort());
    for (const { place, operation } of operations) {
      const wanted = [...place.matchAll(/\{(\w+)\}/g)].map(([, name]) => name);
      const named = (operation.parameters ?? []).filter((parameter) => parameter.in === 'path');
      expect(named.map(({ name }) => name)).toEqual(wanted);
      expect(Object.keys(operation.responses)).toContain('default');
    }
    const references = [...text.matchAll(/"\$ref": "([^"]+)"/g)].map(([, reference = '']) => reference);
    expect(references.length).toBeGreaterThan(20);
    for (const reference of references)
      expect(Object.keys(description.components.schemas)).toContain(reference.replace('#/components/schemas/', ''));
    expect(text).not.toContain('"$id"');
  });

  it('describes what the service answers', async () => {
    await using rig = await BlockRig.start();
    const anna = await rig.user('anna');
    const { volumeId } = await anna.create({ tags: { a: 'b' } });
    await anna.put(volumeId, 1, blockOf(1));
    const { snapshotId } = await anna.snapshot(volumeId);
    const since = { query: { since: snapshotId } };
    const answers = {
      createVolume: await anna.ask('POST', '/v1/volumes', { body: { name: 'n', fromSnapshotId: snapshotId } }),
      listVolumes: await anna.ask('GET', '/v1/volumes'),
      showVolume: await anna.ask('GET', `/v1/volumes/${volumeId}`),
      listVolumeBlocks: await anna.ask('GET', `/v1/volumes/${volumeId}/blocks`),
      putBlock: await anna.put(volumeId, 1, blockOf(1)),
      getBlock: await anna.ask('GET', `/v1/volumes/${volumeId}/blocks/1`),
      createSnapshot: await anna.ask('POST', `/v1/volumes/${volumeId}/snapshots`, { body: {} }),
      listSnapshots: await anna.ask('GET', '/v1/snapshots'),
      showSnapshot: await anna.ask('GET', `/v1/snapshots/${snapshotId}`),
      listSnapshotBlocks: await anna.ask('GET', `/v1/snapshots/${snapshotId}/blocks`),
      listChangedBlocks: await anna.ask('GET', `/v1/snapshots/${snapshotId}/changes`, since),
      getSnapshotBlock: await anna.ask('GET', `/v1/snapshots/${snapshotId}/blocks/1`),
      deleteVolume: await anna.ask('DELETE', `/v1/volumes/${volumeId}`),
      deleteSnapshot: await anna.ask('DELETE', `/v1/snapshots/${snapshotId}`),
    };
    expect(Object.keys(answers).sort()).toEqual(Object.keys(BLOCK_API).sort());
    for (const [name, answer] of Object.entries(answers)) {
      const operation = BLOCK_API[name as keyof typeof BLOCK_API];
      expect([name, answer.status]).toEqual([name, operation.status]);
      if (typeof operation.answer === 'object' && operation.answer !== null)
        expect([name, [...Value.Errors(operation.answer, answer.document)]]).toEqual([name, []]);
    }
    const refused = await anna.ask('GET', `/v1/volumes/${volumeId}`);
    expect([...Value.Errors(Failure, refused.document)]).toEqual([]);
  });
});
