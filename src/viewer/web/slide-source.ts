/** The slide's own levels and tiles as OpenSeadragon wants them. Its levels count from the smallest, ours from full resolution. */
import OpenSeadragon from 'openseadragon';
import { type Picture, tileUrl, type ViewLevel } from '../api.ts';

export class SlideSource extends OpenSeadragon.TileSource {
  private readonly id: string;
  private readonly picture: Picture;

  constructor(id: string, picture: Picture) {
    super({
      width: picture.width,
      height: picture.height,
      tileSize: picture.levels[0]!.tileWidth,
      minLevel: 0,
      maxLevel: picture.levels.length - 1,
    });
    this.id = id;
    this.picture = picture;
  }

  override getLevelScale(level: number): number {
    return 1 / this.at(level).scaleX;
  }

  override getTileWidth(level: number): number {
    return this.at(level).tileWidth;
  }

  override getTileHeight(level: number): number {
    return this.at(level).tileHeight;
  }

  override getNumTiles(level: number): OpenSeadragon.Point {
    const { width, height, tileWidth, tileHeight } = this.at(level);
    return new OpenSeadragon.Point(Math.ceil(width / tileWidth), Math.ceil(height / tileHeight));
  }

  /** Column and row of the tile under a point (x in 0..1, y in the same unit). */
  // @ts-expect-error The library's types say Tile; it is a Point, here and in the library.
  override getTileAtPoint(level: number, point: OpenSeadragon.Point): OpenSeadragon.Point {
    const { scaleX, scaleY, tileWidth, tileHeight } = this.at(level);
    const tiles = this.getNumTiles(level);
    const column = Math.floor((point.x * this.picture.width) / scaleX / tileWidth);
    const row = Math.floor((point.y * this.picture.width) / scaleY / tileHeight);
    return new OpenSeadragon.Point(Math.min(tiles.x - 1, column), Math.min(tiles.y - 1, row));
  }

  /** Where a tile lies (the slide is 1 wide), or which part of its pixels is slide: stored tiles hang over the edge. */
  override getTileBounds(level: number, column: number, row: number, isSource = false): OpenSeadragon.Rect {
    const { width, height, scaleX, scaleY, tileWidth, tileHeight } = this.at(level);
    const seenWidth = Math.min(tileWidth, width - column * tileWidth);
    const seenHeight = Math.min(tileHeight, height - row * tileHeight);
    if (isSource) return new OpenSeadragon.Rect(0, 0, seenWidth, seenHeight);
    const [unitX, unitY] = [scaleX / this.picture.width, scaleY / this.picture.width];
    return new OpenSeadragon.Rect(
      column * tileWidth * unitX,
      row * tileHeight * unitY,
      seenWidth * unitX,
      seenHeight * unitY,
    );
  }

  override getTileUrl(level: number, column: number, row: number): string {
    return tileUrl(this.id, this.picture, this.maxLevel - level, column, row);
  }

  private at(level: number): ViewLevel {
    return this.picture.levels[this.maxLevel - level]!;
  }
}
