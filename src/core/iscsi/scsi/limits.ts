/** Bounds of single commands, as VPD pages B0h (SBC-3, 6.6.4) and 8Fh (SPC-4, 7.8.17) tell them. */
export const LIMITS = {
  /** Also the longest PRE-FETCH; less where the device takes less. */
  transferBytesMax: 8 << 20,
  /** What one command should move at best. */
  transferBytesOptimal: 1 << 20,
  /** One byte holds it. */
  compareBlocksMax: 255,
  unmapBlocksMax: 1 << 20,
  unmapDescriptorsMax: 256,
  /** As many as WRITE SAME(10) can name, in whole units of 4 KiB. */
  sameBlocksMax: 0xfff8,
  copyCscdsMax: 8,
  copySegmentsMax: 256,
  /** So much is read and then written. */
  copyPieceBytes: 4 << 20,
} as const;
