# %% pillow==13.0.0 (78)
import PIL.Image, PIL.ImageFilter
picture = PIL.Image.new('RGB', (64, 64), 'red').filter(PIL.ImageFilter.GaussianBlur(2)).resize((10, 10))
picture.save('picture.jpg')
print(PIL.Image.open('picture.jpg').getpixel((5, 5)))

# %% matplotlib==3.11.2 (169)
import matplotlib.pyplot
figure, axes = matplotlib.pyplot.subplots()
axes.contourf([[1, 2], [3, 4]])
axes.set_title('$x^2$')
figure.savefig('figure.pdf')
figure.canvas.draw()
print(figure.canvas.buffer_rgba().shape)

# %% opencv-python-headless==5.0.0.93 (650)
import cv2, numpy
picture = numpy.zeros((100, 100, 3), 'uint8')
cv2.circle(picture, (50, 50), 20, (255, 0, 0), -1)
grey = cv2.cvtColor(picture, cv2.COLOR_BGR2GRAY)
print(int((grey > 0).sum()), len(cv2.findContours(grey, cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_SIMPLE)[0]))
print(cv2.imdecode(cv2.imencode('.png', picture)[1], 1).shape)

# %% scikit-image==0.26.0 (776)
import numpy, skimage.filters, skimage.measure
print(skimage.measure.label(numpy.eye(5), connectivity=1).max(), skimage.filters.sobel(numpy.eye(5)).sum().round(4))

# %% imagecodecs==2026.3.6 (4316)
import imagecodecs, numpy
print(imagecodecs.png_decode(imagecodecs.png_encode(numpy.eye(8, dtype='uint8'))).sum(), len(imagecodecs.jpeg_encode(numpy.zeros((8, 8), 'uint8'))) > 0)

# %% tifffile==2026.3.3 (868)
import numpy, tifffile
tifffile.imwrite('picture.tif', numpy.eye(16, dtype='uint16'))
print(tifffile.imread('picture.tif').sum())

# %% pillow-heif==1.8.1 (1568)
import PIL.Image, pillow_heif
pillow_heif.register_heif_opener()
PIL.Image.new('RGB', (64, 64), 'blue').save('picture.heif')
print(PIL.Image.open('picture.heif').size)

# %% pymupdf==2.0 (367)
import pymupdf
document = pymupdf.open()
document.new_page().insert_text((72, 72), 'Hello')
print(document[0].get_text().strip(), document[0].get_pixmap().width)

# %% pypdfium2==5.15.2 (571)
import pypdfium2
document = pypdfium2.PdfDocument.new()
document.new_page(100, 200)
print(document[0].render().width)

# %% pikepdf==10.18.0 (1546)
import pikepdf
with pikepdf.new() as document:
    document.add_blank_page()
    document.save('blank.pdf')
print(len(pikepdf.open('blank.pdf').pages))

# %% reportlab==5.1.0 (561)
import reportlab.pdfgen.canvas
canvas = reportlab.pdfgen.canvas.Canvas('report.pdf', invariant=True)
canvas.drawString(100, 100, 'Hello')
print(len(canvas.getpdfdata()))

# %% fonttools==4.68.0 matplotlib==3.11.2 (165)
import fontTools.ttLib, matplotlib
font = fontTools.ttLib.TTFont(matplotlib.get_data_path() + '/fonts/ttf/DejaVuSans.ttf')
print(font['maxp'].numGlyphs)

# %% uharfbuzz==0.57.0 matplotlib==3.11.2 (5343)
import matplotlib, uharfbuzz
font = uharfbuzz.Font(uharfbuzz.Face(open(matplotlib.get_data_path() + '/fonts/ttf/DejaVuSans.ttf', 'rb').read()))
buffer = uharfbuzz.Buffer()
buffer.add_str('office')
buffer.guess_segment_properties()
uharfbuzz.shape(font, buffer)
print([info.codepoint for info in buffer.glyph_infos])

# %% wordcloud==1.9.6 (2713)
import wordcloud
print(sorted(wordcloud.WordCloud(width=100, height=50, random_state=1).generate('one two two three').words_))

# %% av==18.1.0 numpy==2.4.6 (805)
import av, numpy
with av.open('film.mp4', 'w') as film:
    stream = film.add_stream('mpeg4', rate=24)
    stream.width = stream.height = 64
    for _ in range(5):
        film.mux(stream.encode(av.VideoFrame.from_ndarray(numpy.zeros((64, 64, 3), 'uint8'), format='rgb24')))
    film.mux(stream.encode())
with av.open('film.mp4') as film:
    print(sum(1 for _ in film.decode(video=0)))

# %% soundfile==0.14.0 (1012)
import numpy, soundfile
soundfile.write('sound.flac', numpy.zeros(1000), 8000)
print(soundfile.info('sound.flac').frames)

# %% librosa==0.11.0 (1418)
import librosa, numpy
print(librosa.feature.melspectrogram(y=numpy.sin(numpy.arange(4000.0)), sr=8000, n_mels=16).shape)

# %% vtk==9.7.2 (3161)
import vtk
sphere = vtk.vtkSphereSource()
sphere.Update()
print(sphere.GetOutput().GetNumberOfPoints())

# %% mujoco==4.0.0 (3399)
import mujoco
model = mujoco.MjModel.from_xml_string('<mujoco><worldbody><body><freejoint/><geom size="1"/></body></worldbody></mujoco>')
data = mujoco.MjData(model)
mujoco.mj_step(model, data)
print(round(data.time, 4), data.qpos.shape)

# %% manifold3d==3.5.4 (3979)
import manifold3d
print(round(manifold3d.Manifold.cube([1, 2, 3]).volume(), 4))

# %% mapbox-earcut==2.1.0 (3818)
import mapbox_earcut, numpy
print(mapbox_earcut.triangulate_float64(numpy.array([[0.0, 0], [1, 0], [1, 1], [0, 1]]), numpy.array([4], 'uint32')))
