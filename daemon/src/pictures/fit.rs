//! Makes a picture small enough for clients, in a format that they support. Formats are recognised by content, never by name.

use std::borrow::Cow;
use std::io::Cursor;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use image::codecs::jpeg::JpegEncoder;
use image::{DynamicImage, ImageFormat, ImageReader, Limits};

/// The longest side in pixels. Models scale larger pictures down.
const MAX_SIDE: u32 = 1568;
/// The shortest side to which a picture is scaled down.
const MIN_SIDE: u32 = 64;
/// The largest size in a header that is decoded: a small file can claim a huge picture.
const MAX_CLAIMED_SIDE: u32 = 16_384;
const MAX_PIXELS: u64 = 40_000_000;
/// The most bytes of memory for decoding.
const MAX_DECODED_BYTES: u64 = 256 * 1024 * 1024;
const JPEG_QUALITY: u8 = 85;

/// A picture for a result.
#[derive(Debug, PartialEq, Eq)]
pub struct Picture {
    pub base64: String,
    pub mime_type: &'static str,
}

/// Why a file is not shown as a picture.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum NotShown {
    #[error("it is no picture")]
    NoPicture,
    #[error("{width} × {height} pixels are too many")]
    TooManyPixels { width: u32, height: u32 },
    #[error("it cannot be decoded")]
    Damaged,
    #[error("there is no room for it")]
    NoRoom,
}

type Encode = fn(&DynamicImage) -> Option<Vec<u8>>;

/// Whether the file may be a picture, by its name.
pub fn may_be_picture(path: &str) -> bool {
    let extension = path.rsplit_once('.').map(|(_, extension)| extension.to_ascii_lowercase());
    matches!(extension.as_deref(), Some("png" | "jpg" | "jpeg" | "webp" | "gif"))
}

/// The picture in `content`, scaled down if its sides are too long or its base64 is longer than `room`. Blocks for as long as that takes.
pub fn fit(content: &[u8], room: usize) -> Result<Picture, NotShown> {
    let format = image::guess_format(content).map_err(|_| NotShown::NoPicture)?;
    let mime_type = match format {
        ImageFormat::Png | ImageFormat::Jpeg | ImageFormat::WebP | ImageFormat::Gif => format.to_mime_type(),
        _ => return Err(NotShown::NoPicture),
    };
    // Only the header is read. With the limits of decoding a large size would already be an error here.
    let mut header = ImageReader::with_format(Cursor::new(content), format);
    header.no_limits();
    let (width, height) = header.into_dimensions().map_err(|_| NotShown::Damaged)?;
    if width.max(height) > MAX_CLAIMED_SIDE || u64::from(width) * u64::from(height) > MAX_PIXELS {
        return Err(NotShown::TooManyPixels { width, height });
    }
    // Decoded even if it is sent unchanged: a model's API refuses a damaged picture, and the conversation with it.
    let picture = reader(content, format).decode().map_err(|_| NotShown::Damaged)?;
    if width.max(height) <= MAX_SIDE && encoded_length(content.len()) <= room {
        return Ok(Picture { base64: STANDARD.encode(content), mime_type });
    }
    let mut side = picture.width().max(picture.height()).min(MAX_SIDE);
    while side >= MIN_SIDE {
        let scaled = match side < picture.width().max(picture.height()) {
            // In integers: a floating point copy would be many times as large.
            true => Cow::Owned(picture.thumbnail(side, side)),
            false => Cow::Borrowed(&picture),
        };
        for (encode, mime_type) in [(png as Encode, "image/png"), (jpeg, "image/jpeg")] {
            let bytes = encode(&scaled).ok_or(NotShown::Damaged)?;
            if encoded_length(bytes.len()) <= room {
                return Ok(Picture { base64: STANDARD.encode(bytes), mime_type });
            }
        }
        side = side * 7 / 10;
    }
    Err(NotShown::NoRoom)
}

fn reader(content: &[u8], format: ImageFormat) -> ImageReader<Cursor<&[u8]>> {
    let mut reader = ImageReader::with_format(Cursor::new(content), format);
    let mut limits = Limits::default();
    limits.max_alloc = Some(MAX_DECODED_BYTES);
    reader.limits(limits);
    reader
}

fn encoded_length(bytes: usize) -> usize {
    bytes.div_ceil(3) * 4
}

fn png(picture: &DynamicImage) -> Option<Vec<u8>> {
    let mut bytes = Cursor::new(Vec::new());
    // Formats that PNG does not have, such as floating point, become 8 bits.
    let picture = DynamicImage::from(picture.to_rgba8());
    picture.write_to(&mut bytes, ImageFormat::Png).ok()?;
    Some(bytes.into_inner())
}

/// JPEG has no transparency: the background becomes white.
fn jpeg(picture: &DynamicImage) -> Option<Vec<u8>> {
    let mut opaque = image::RgbaImage::from_pixel(picture.width(), picture.height(), image::Rgba([255; 4]));
    image::imageops::overlay(&mut opaque, &picture.to_rgba8(), 0, 0);
    let mut bytes = Vec::new();
    let encoder = JpegEncoder::new_with_quality(&mut bytes, JPEG_QUALITY);
    DynamicImage::from(opaque).to_rgb8().write_with_encoder(encoder).ok()?;
    Some(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn noise(width: u32, height: u32) -> Vec<u8> {
        let mut state = 1_u32;
        let picture = image::RgbImage::from_fn(width, height, |_, _| {
            state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            let [_, red, green, blue] = state.to_be_bytes();
            image::Rgb([red, green, blue])
        });
        png(&picture.into()).unwrap()
    }

    fn decoded(picture: &Picture) -> DynamicImage {
        image::load_from_memory(&STANDARD.decode(&picture.base64).unwrap()).unwrap()
    }

    #[test]
    fn a_picture_that_fits_stays_as_it_is() {
        let content = noise(30, 20);
        let picture = fit(&content, 10_000).unwrap();
        assert_eq!((STANDARD.decode(&picture.base64).unwrap(), picture.mime_type), (content, "image/png"));
    }

    #[test]
    fn one_that_is_too_large_is_scaled_down_until_it_fits() {
        let long = fit(&png(&image::RgbImage::new(4000, 1000).into()).unwrap(), 1 << 20).unwrap();
        assert_eq!((decoded(&long).width(), decoded(&long).height()), (MAX_SIDE, 392));
        let content = noise(1000, 800);
        assert!(encoded_length(content.len()) > 1 << 20);
        let picture = fit(&content, 1 << 20).unwrap();
        assert!(picture.base64.len() <= 1 << 20 && decoded(&picture).width() >= 500, "{}", decoded(&picture).width());
        assert_eq!(fit(&content, 500), Err(NotShown::NoRoom));
    }

    /// As PNG has it.
    fn crc32(bytes: &[u8]) -> u32 {
        !bytes.iter().fold(!0, |sum, byte| {
            (0..8).fold(sum ^ u32::from(*byte), |sum, _| if sum & 1 == 1 { (sum >> 1) ^ 0xedb8_8320 } else { sum >> 1 })
        })
    }

    #[test]
    fn what_is_no_picture_or_claims_too_much_is_not_shown() {
        assert_eq!(fit(b"<svg/>", 1 << 20), Err(NotShown::NoPicture));
        assert_eq!(fit(b"\x89PNG\r\n\x1a\n", 1 << 20), Err(NotShown::Damaged));
        let mut bomb = noise(8, 8);
        // Width and height in the header: 100,000 each, followed by the header's checksum.
        bomb[16..24].copy_from_slice(&[0, 1, 134, 160, 0, 1, 134, 160]);
        let checksum = crc32(&bomb[12..29]).to_be_bytes();
        bomb[29..33].copy_from_slice(&checksum);
        assert_eq!(fit(&bomb, 1 << 20), Err(NotShown::TooManyPixels { width: 100_000, height: 100_000 }));
        let wide = png(&image::GrayImage::new(20_000, 1).into()).unwrap();
        assert_eq!(fit(&wide, 1 << 20), Err(NotShown::TooManyPixels { width: 20_000, height: 1 }));
        let whole = noise(30, 20);
        assert_eq!(fit(&whole[..60], 1 << 20), Err(NotShown::Damaged), "the rest is missing");
    }

    #[test]
    fn transparency_becomes_white_in_a_jpeg() {
        let bytes = jpeg(&image::RgbaImage::new(8, 8).into()).unwrap();
        assert_eq!(image::load_from_memory(&bytes).unwrap().to_rgb8().get_pixel(0, 0).0, [255; 3]);
    }
}
