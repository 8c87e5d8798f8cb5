/** Frames that say what they are. */

/** The id of segment `n`: 32 hex digits. */
export const segmentId = (n: number): string => (n * 2654435761).toString(16).padStart(16, '0').padStart(32, 'a5');

/** The pages of a frame: all different, from frame to frame and page to page. */
export function framePages(segment: number, frame: number, pages: number): Buffer {
  const out = Buffer.alloc(pages * 4096);
  for (let page = 0; page < pages; page++) {
    const at = page * 4096;
    out.fill((segment * 7 + frame * 13 + page + 1) & 0xff, at, at + 4096);
    out.writeUInt32LE(segment, at);
    out.writeUInt32LE(frame, at + 4);
    out.writeUInt32LE(page, at + 4092);
  }
  return out;
}
