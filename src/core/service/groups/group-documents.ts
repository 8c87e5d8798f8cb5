/**
 * The documents of groups (docs/formats/service.md). Their version is that of the document itself, so that it grows with every
 * change, and can't be wrong.
 */
import {
  createDocument,
  readDocument,
  replaceDocument,
  type BlockStoreOptions,
  type DocumentVersion,
} from '../../blockstore/index.ts';
import { SgwError } from '../../kit/index.ts';
import type { GroupDocument } from '../../protocol/index.ts';
import { notFoundResource } from '../identity/authorization.ts';
import { serviceKeys } from '../keys.ts';

/** As it is stored. */
export interface StoredGroup extends Omit<GroupDocument, 'version'> {
  readonly clientToken: string | null;
}

interface Found {
  readonly now: DocumentVersion;
  readonly stored: StoredGroup;
}

const TRIES = 64;

export const isGroupId = (text: string): boolean => /^grp-[0-9a-f]{16}$/.test(text);

export class GroupDocuments {
  readonly #blocks: BlockStoreOptions;

  constructor(blocks: BlockStoreOptions) {
    this.#blocks = blocks;
  }

  async read(groupId: string, signal: AbortSignal): Promise<(GroupDocument & StoredGroup) | undefined> {
    const found = isGroupId(groupId) ? await this.#find(groupId, signal) : undefined;
    return found === undefined ? undefined : { ...found.stored, version: found.now.version };
  }

  /** In the order of their names. */
  async list(accountId: string, signal: AbortSignal): Promise<(GroupDocument & StoredGroup)[]> {
    const groups: (GroupDocument & StoredGroup)[] = [];
    for await (const { key } of this.#blocks.objects.list(serviceKeys.groups, { signal })) {
      const group = await this.read(key.slice(serviceKeys.groups.length).replace(/\.json$/, ''), signal);
      if (group?.accountId === accountId) groups.push(group);
    }
    return groups.sort((a, b) => (a.name < b.name ? -1 : 1));
  }

  /** Durable when it resolves. */
  async create(group: StoredGroup, signal: AbortSignal): Promise<GroupDocument> {
    if (!(await createDocument(this.#blocks, serviceKeys.group(group.groupId), group, signal)))
      throw new SgwError('conflict', 'group-exists', `there is a group ${group.groupId} already`, {
        hint: 'Try again.',
      });
    return documentOf({ ...group, version: 1 });
  }

  /**
   * Changes a group; `change` returns the very group that it was given where nothing is to be changed. Durable when it resolves.
   * @throws notFound `group-not-found`, what `change` throws
   */
  async change(
    groupId: string,
    change: (group: StoredGroup) => StoredGroup,
    signal: AbortSignal,
  ): Promise<{ readonly group: GroupDocument; readonly changed: boolean }> {
    for (let attempt = 0; attempt < TRIES; attempt++) {
      const { now, stored } = await this.#require(groupId, signal);
      const next = change(stored);
      if (next === stored) return { group: documentOf({ ...stored, version: now.version }), changed: false };
      const result = await replaceDocument(this.#blocks, serviceKeys.group(groupId), now, next, signal);
      if (result.outcome === 'stored')
        return { group: documentOf({ ...next, version: result.version }), changed: true };
      await this.#wait(attempt, signal);
    }
    throw contended(groupId);
  }

  /** Removes it as it is when `check` lets it. Durable when it resolves. @throws notFound `group-not-found`, what `check` throws */
  async remove(groupId: string, check: (group: GroupDocument) => void, signal: AbortSignal): Promise<GroupDocument> {
    for (let attempt = 0; attempt < TRIES; attempt++) {
      const { now, stored } = await this.#require(groupId, signal);
      const group = documentOf({ ...stored, version: now.version });
      check(group);
      try {
        await this.#blocks.objects.delete(serviceKeys.group(groupId), { signal, ifMatch: now.etag });
        return group;
      } catch (error) {
        if (!(error instanceof SgwError) || error.code !== 'etag-mismatch') throw error;
      }
      await this.#wait(attempt, signal);
    }
    throw contended(groupId);
  }

  async #wait(attempt: number, signal: AbortSignal): Promise<void> {
    const { clock, random } = this.#blocks;
    await clock.sleep(random.float() * Math.min(100, 2 ** attempt), signal);
  }

  async #require(groupId: string, signal: AbortSignal): Promise<Found> {
    const found = await this.#find(groupId, signal);
    if (found !== undefined) return found;
    throw notFoundResource({ kind: 'group', id: groupId });
  }

  async #find(groupId: string, signal: AbortSignal): Promise<Found | undefined> {
    const found = await readDocument<StoredGroup>(this.#blocks, serviceKeys.group(groupId), signal);
    return found === undefined ? undefined : { now: found, stored: found.value };
  }
}

/** What others may know. */
export function documentOf(group: GroupDocument): GroupDocument {
  const { groupId, name, accountId, version, createdAt, members, volumes } = group;
  return { groupId, name, accountId, version, createdAt, members, volumes };
}

const contended = (groupId: string): SgwError =>
  new SgwError('unavailable', 'document-contended', `group ${groupId} is changed by others all the time`, {
    hint: 'Try again.',
    details: { groupId },
  });
