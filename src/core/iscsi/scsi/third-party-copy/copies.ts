/** What is known of the EXTENDED COPY commands of one nexus, by their list identifiers of one byte (SPC-4, 5.17.4). */
export interface CopyProgress {
  state: 'running' | 'done' | 'failed';
  segments: number;
  bytes: number;
  /** Why it failed. */
  sense: Buffer | undefined;
}

export class Copies {
  readonly #copies = new Map<number, CopyProgress>();

  find(listId: number): CopyProgress | undefined {
    return this.#copies.get(listId);
  }

  /** The results of an earlier copy with this identifier are dropped. */
  begin(listId: number): CopyProgress {
    const progress: CopyProgress = { state: 'running', segments: 0, bytes: 0, sense: undefined };
    this.#copies.set(listId, progress);
    return progress;
  }

  drop(listId: number): void {
    this.#copies.delete(listId);
  }
}
