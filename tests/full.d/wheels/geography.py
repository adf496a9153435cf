# %% shapely==2.2.0 (412)
import shapely
print(shapely.Point(0, 0).buffer(1).area.__round__(4), shapely.union_all([shapely.box(0, 0, 2, 2), shapely.box(1, 1, 3, 3)]).area)

# %% pyproj==3.7.2 (888)
import pyproj
print([round(value, 1) for value in pyproj.Transformer.from_crs(4326, 3857, always_xy=True).transform(13.4, 52.5)])
print(pyproj.CRS(25833).name, round(pyproj.Geod(ellps='WGS84').inv(0, 0, 1, 1)[2]))

# %% geopandas==1.2.0 (1033)
import geopandas, shapely
frame = geopandas.GeoDataFrame({'n': [1, 2]}, geometry=[shapely.Point(0, 0), shapely.Point(1, 1)], crs=4326)
frame.to_file('points.gpkg')
print(geopandas.read_file('points.gpkg').to_crs(3857).geometry.x.round(1).tolist())

# %% pyogrio==0.13.0 (1221)
import pyogrio
print(sorted(set(pyogrio.list_drivers()) & {'GPKG', 'GeoJSON', 'ESRI Shapefile'}))

# %% fiona==1.10.1 (1772)
import fiona
schema = {'geometry': 'Point', 'properties': {'n': 'int'}}
with fiona.open('points.geojson', 'w', driver='GeoJSON', schema=schema, crs='EPSG:4326') as file:
    file.write({'geometry': {'type': 'Point', 'coordinates': (1, 2)}, 'properties': {'n': 1}})
with fiona.open('points.geojson') as file:
    print(len(file), file.bounds)

# %% rasterio==1.4.4 (2147)
import numpy, rasterio
with rasterio.open('raster.tif', 'w', driver='GTiff', width=4, height=4, count=1, dtype='uint8', crs='EPSG:3857',
                   transform=rasterio.transform.from_origin(0, 4, 1, 1)) as raster:
    raster.write(numpy.eye(4, dtype='uint8'), 1)
with rasterio.open('raster.tif') as raster:
    print(raster.read(1).sum(), raster.crs, tuple(raster.bounds))

# %% rtree==1.4.1 (1688)
import rtree
index = rtree.index.Index()
index.insert(7, (0, 0, 1, 1))
print(list(index.intersection((0.5, 0.5, 2, 2))))

# %% h3==4.5.0 (1231)
import h3
print(h3.latlng_to_cell(52.5, 13.4, 7), len(h3.grid_disk('871f1d489ffffff', 2)))

# %% pyclipper==1.4.0 (1490)
import pyclipper
clipper = pyclipper.Pyclipper()
clipper.AddPath([(0, 0), (10, 0), (10, 10), (0, 10)], pyclipper.PT_SUBJECT, True)
clipper.AddPath([(5, 5), (15, 5), (15, 15), (5, 15)], pyclipper.PT_CLIP, True)
print(clipper.Execute(pyclipper.CT_INTERSECTION))

# %% eccodes==2.50.0 (4572)
import eccodes
message = eccodes.codes_grib_new_from_samples('GRIB2')
print(eccodes.codes_get(message, 'edition'))

# %% cartopy==0.26.0 (4281)
import cartopy.crs
print([round(value) for value in cartopy.crs.Mercator().transform_point(10, 50, cartopy.crs.PlateCarree())])

# %% pykdtree==1.4.3 (10429)
import numpy, pykdtree.kdtree
print(pykdtree.kdtree.KDTree(numpy.eye(4)).query(numpy.eye(4)[:1], k=1)[1])
