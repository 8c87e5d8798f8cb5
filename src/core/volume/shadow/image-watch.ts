/** Looks now and then whether a shadowed image is still what it was, and whether somebody else writes to it. */
import type { ImageFile } from '../../image/index.ts';
import { SgwError } from '../../kit/index.ts';

export class ImageWatch {
  readonly #image: ImageFile;
  readonly #onRemark: (text: string) => void;
  #remark: string | null = null;
  #modifiedAtNs: bigint | undefined;

  constructor(image: ImageFile, onRemark: (text: string) => void) {
    this.#image = image;
    this.#onRemark = onRemark;
  }

  /** What is the matter with the image, for people; null when nothing is. */
  get remark(): string | null {
    return this.#remark;
  }

  /**
   * `hasWritten`: whether the gateway has since it looked last. Returns whether somebody else has, where that can be told.
   * @throws conflict `image-changed` when it was truncated
   */
  look(hasWritten: boolean): boolean {
    const { links, sizeBytes, modifiedAtNs } = this.#image.facts();
    const { path, kind } = this.#image;
    if (sizeBytes < this.#image.sizeBytes) throw imageTruncated(this.#image, sizeBytes);
    if (links === 0) this.#set(`the image ${path} was removed; it is served until the volume is detached`);
    else if (!this.#image.isInPlace())
      this.#set(`the image ${path} was moved or replaced; the one that was attached is served`);
    else if (sizeBytes > this.#image.sizeBytes)
      this.#set(`the image ${path} has grown; attach the volume again to serve all of it`);
    else this.#set(null);
    const isChanged = this.#modifiedAtNs !== undefined && modifiedAtNs !== this.#modifiedAtNs;
    this.#modifiedAtNs = modifiedAtNs;
    // A device does not tell.
    const isForeign = isChanged && !hasWritten && kind === 'file';
    if (isForeign) this.#onRemark(`somebody else has written to the image ${path}`);
    return isForeign;
  }

  #set(remark: string | null): void {
    if (remark !== null && remark !== this.#remark) this.#onRemark(remark);
    this.#remark = remark;
  }
}

/** Why nothing more is served of an image that has only `sizeBytes` left. */
export function imageTruncated({ path }: Pick<ImageFile, 'path'>, sizeBytes: number): SgwError {
  return new SgwError('conflict', 'image-changed', `the image ${path} was truncated to ${String(sizeBytes)} bytes`, {
    hint: 'Nothing more is served. Detach the volume; then restore the image from a snapshot or recovery point, or put it right and attach it again.',
    details: { path, sizeBytes },
  });
}
